"""What is checked before anything is let in to a view's workloads, by AuthorizationPolicy.

Input: the policies that are for the view. Order: Istio's (CUSTOM; then AUDIT, DENY, ALLOW); a policy on trial
(annotation `istio.io/dry-run`) is tried and never enforced. A policy that is not valid denies everything to what it
selects: which part of it was meant to be closed is not known.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from federation.model.findings import Finding, Severity
from istiod.api.authorizationpolicy import Action, AuthorizationPolicy
from istiod.api.kinds import Kind
from istiod.api.meta import Invalid, Meta, Object
from istiod.memo import memo
from istiod.resolve.attachment import broken_for, policies_for
from istiod.resolve.authz_checks import checks_of
from istiod.resolve.authz_rules import PolicyRules, policy_rules
from istiod.resolve.specs.authz import ALWAYS, Authorization, RbacSpec, RuleSet, RuleSpec, Verdict
from istiod.resolve.specs.listener import FilterChainSpec, HttpConnection
from istiod.resolve.trust import TrustDomains, trust_domains
from istiod.snapshot import Snapshot
from istiod.view.proxy import ProxyView

DRY_RUN = "istio.io/dry-run"
# What counts as true and as false, as Istio reads it.
TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})
CUSTOM_TRIAL = "istio_dry_run_custom_"

Policy = Object[AuthorizationPolicy]


@dataclass(frozen=True, slots=True)
class Guard:
    """What holds for a view, for HTTP and for bytes, and what the authors of the policies should know."""

    http: Authorization
    tcp: Authorization
    findings: tuple[Finding, ...] = ()

    def over(self, chain: FilterChainSpec) -> FilterChainSpec:
        """A filter chain behind what is checked. What passes by server name (`sni_cluster`) is left alone."""
        if isinstance(chain.handler, HttpConnection):
            return replace(chain, handler=replace(chain.handler, authorization=self.http))
        return chain if chain.sni_cluster else replace(chain, authorization=self.tcp)


def guard_of(snapshot: Snapshot, view: ProxyView) -> Guard:
    """The guard of a view; one that lets everything in where no policy speaks."""
    policies = policies_for(snapshot, Kind.AUTHORIZATION_POLICY, AuthorizationPolicy, view)
    broken = tuple(item for item in broken_for(snapshot, Kind.AUTHORIZATION_POLICY, view) if not _on_trial(item.meta))
    custom = [policy for policy in policies if policy.spec.action is Action.CUSTOM]
    checks = checks_of(snapshot, view, (policy for policy in custom if not _on_trial(policy.meta)))
    made = [(policy, _rules(policy, trust_domains(snapshot))) for policy in policies]
    return Guard(
        Authorization(checks.http, _filters(made, broken, http=True)),
        Authorization(checks.tcp, _filters(made, broken, http=False)),
        (*checks.findings, *map(_closed, broken), *_trial_findings(policies)),
    )


@memo(size=4096)
def _rules(policy: Policy, domains: TrustDomains) -> PolicyRules:
    return policy_rules(policy, domains)


_FILTERS = (
    (Action.CUSTOM, Verdict.DENY, CUSTOM_TRIAL),
    (Action.AUDIT, Verdict.LOG, ""),
    (Action.DENY, Verdict.DENY, "istio_dry_run_deny_"),
    (Action.ALLOW, Verdict.ALLOW, "istio_dry_run_allow_"),
)


def _filters(made: Iterable[tuple[Policy, PolicyRules]], broken: Iterable[Invalid], http: bool) -> tuple[RbacSpec, ...]:
    """One filter for each action that some policy has. Of CUSTOM only trials are left: nobody is asked for them."""
    filters = []
    for action, verdict, prefix in _FILTERS:
        found: dict[bool, list[RuleSpec]] = {}
        for policy, rules in made:
            on_trial = _on_trial(policy.meta)
            if policy.spec.action is action and (on_trial or action is not Action.CUSTOM):
                found.setdefault(on_trial, []).extend(rules.http if http else rules.tcp)
        if action is Action.DENY:
            for item in broken:
                found.setdefault(False, []).append(_everything(item.meta))
        if found:
            enforced, tried = (
                RuleSet(verdict, tuple(found[on_trial])) if on_trial in found else None for on_trial in (False, True)
            )
            filters.append(RbacSpec(enforced, tried, prefix if tried is not None else ""))
    return tuple(filters)


def _everything(meta: Meta) -> RuleSpec:
    return RuleSpec(f"ns[{meta.namespace}]-policy[{meta.name}]-rule[0]", ALWAYS, ALWAYS)


def _on_trial(meta: Meta) -> bool:
    return meta.annotations.get(DRY_RUN) in TRUE


def _closed(broken: Invalid) -> Finding:
    return Finding(
        Severity.ERROR,
        "PolicyFailsClosed",
        f"{broken.kind} {broken.meta.namespace}/{broken.meta.name}",
        "",
        "cannot be used, so everything is denied at the workloads that it selects",
        "correct what is wrong with it, or delete it",
    )


def _trial_findings(policies: Iterable[Policy]) -> Iterable[Finding]:
    for policy in policies:
        said = policy.meta.annotations.get(DRY_RUN)
        if said is not None and said not in TRUE | FALSE:
            path = f"metadata.annotations[{DRY_RUN}]"
            message = f"{said[:80]!r} is neither true nor false, so the policy is enforced"
            yield Finding(Severity.WARNING, "InvalidAnnotation", str(policy), path, message, 'write "true"')
