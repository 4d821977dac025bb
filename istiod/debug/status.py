"""Collects what this process knows into one report, when somebody asks. The only part of `debug` with a clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog

from federation.model.errors import InvalidInput
from federation.model.findings import Finding, Severity
from federation.runtime.ready import Readiness
from istiod.analyze.analysis import analyze
from istiod.analyze.codes_of_parts import CODES
from istiod.analyze.selection import annotated, select
from istiod.api.kinds import Kind
from istiod.ca.authority_files import AuthorityFiles
from istiod.ca.credentials import gateway_secrets
from istiod.debug.report import (
    AnalysisReport,
    ConfigReport,
    DiffQuestion,
    DiffReport,
    FederationReport,
    IstiodReport,
)
from istiod.debug.trial import Edit, Group, diff_report, read_edit
from istiod.debug.views import (
    config_report,
    find_stream,
    findings_report,
    gateways_report,
    proxy_report,
    services_report,
    unconnected_report,
)
from istiod.ingest import Ingest
from istiod.pipeline import Pipeline
from istiod.registry.contribution import Place
from istiod.resolve.credentials import credential_findings, expired_credentials
from istiod.resolve.objects import table_of
from istiod.settings import Settings
from istiod.view.classes import view_of
from istiod.why.answer import Answer
from istiod.why.explain import explain
from istiod.why.request import parse_request

log = structlog.get_logger("findings")
DIFF_SECONDS = 600.0


@dataclass(frozen=True)
class StatusSource:
    """The parts of a running control plane that have something to say. `views` may get "federation" later."""

    settings: Settings
    version: str
    readiness: Readiness
    ingest: Ingest
    pipeline: Pipeline
    authority: AuthorityFiles
    views: Mapping[str, Callable[[], Any]]
    started: float = field(default_factory=time.monotonic)
    asked: asyncio.Lock = field(default_factory=asyncio.Lock)  # costly questions, one after the other

    def status(self) -> IstiodReport:
        """Everything, at this moment."""
        now, wall = time.monotonic(), time.time()
        snapshot, ca = self.ingest.snapshots.peek(), self.authority.validity()
        cluster = self.settings.cluster
        return IstiodReport(
            cluster=cluster,
            network=self.settings.network,
            version=self.version,
            uptime_seconds=round(now - self.started, 1),
            waiting_for=self.readiness.waiting(),
            revision=snapshot.revision if snapshot is not None else 0,
            changed_seconds=round(now - self.ingest.changed, 1) if snapshot is not None else None,
            ca_seconds_left=round(ca[1].timestamp() - wall) if ca is not None else None,
            ca_life_seconds=(ca[1] - ca[0]).total_seconds() if ca is not None else None,
            federation=self._federation(),
            gateways=gateways_report(snapshot),
            services=services_report(snapshot, cluster),
            proxies=tuple(proxy_report(stream, now, wall) for stream in self.pipeline.streams),
            findings=findings_report(self.findings()),
            unconnected=unconnected_report(snapshot, self.pipeline.streams),
            pushed=self.pipeline.pushed.peek() or 0,
        )

    def findings(self) -> list[Finding]:
        """What sources, the registry, the resolvers of connected proxies and the CA found, each once."""
        snapshot = self.ingest.snapshots.peek()
        found = {*(snapshot.findings if snapshot else ()), *self.pipeline.findings, *self.authority.findings}
        if snapshot is not None:
            found.update(expired_credentials(table_of(snapshot, Kind.SECRET), datetime.now(UTC)))
            for view in self.pipeline.views:
                found.update(credential_findings(snapshot, view, gateway_secrets(snapshot, view)))
        return sorted(found)

    def analysis(self) -> AnalysisReport:
        """What the analyzers find besides, without what objects suppress about themselves."""
        snapshot = self.ingest.snapshots.peek()
        found = self.findings()
        if snapshot is not None:
            found = list(select({*found, *analyze(snapshot)}, CODES, annotated(snapshot)))
        return AnalysisReport(self.settings.cluster, findings_report(found))

    async def log_findings(self) -> None:
        """Write each finding into the log when it comes up, and when it is gone, until cancelled."""
        known: set[Finding] = set()
        async for _ in self.pipeline.pushed.changes():
            now = set(self.findings())
            for finding in sorted(now - known):
                log.warning("finding", code=finding.code, finding=str(finding))
            for finding in sorted(known - now):
                log.info("finding_gone", code=finding.code, finding=str(finding))
            known = now

    def _federation(self) -> FederationReport | None:
        view = self.views.get("federation")
        return msgspec.convert(view(), FederationReport) if view is not None else None

    def why(self, parameters: Mapping[str, str]) -> Answer:
        """What a request of `method`, `url` and `headers` (a line each) meets at `proxy`; raises InvalidInput."""
        stream = find_stream(self.pipeline.streams, parameters.get("proxy", ""))
        request = parse_request(
            parameters.get("method", "GET"),
            parameters.get("url", ""),
            [line for line in parameters.get("headers", "").split("\n") if line],
            inbound=parameters.get("from") == "inbound",
            principal=parameters.get("principal", ""),
            source=parameters.get("source", ""),
        )
        snapshot, proxy = self.ingest.snapshots.peek(), stream.proxy
        assert snapshot is not None  # the stream has joined, which waits for one
        assert proxy is not None
        address = next(iter(proxy.addresses), "")
        return explain(snapshot, view_of(proxy, snapshot), proxy.id, request, time.time(), address)

    async def diff(self, body: bytes) -> DiffReport:
        """What an edit would change for the connected proxies; one question at a time. Raises InvalidInput."""
        try:
            question = msgspec.json.decode(body, type=DiffQuestion)
        except msgspec.DecodeError as wrong:
            message = f"the question cannot be read: {wrong}"
            raise InvalidInput([Finding(Severity.ERROR, "InvalidQuery", "diff", "", message, "")]) from wrong
        edit = await asyncio.to_thread(read_edit, question.files, question.delete)  # megabytes of YAML take seconds
        try:
            async with asyncio.timeout(DIFF_SECONDS), self.asked:
                return await self._diff(edit, question.fields)
        except TimeoutError as late:
            message = f"comparing takes longer than {DIFF_SECONDS:g} s"
            raise InvalidInput([Finding(Severity.ERROR, "TooLong", "diff", "", message, "ask less")]) from late

    async def _diff(self, edit: Edit, fields: bool) -> DiffReport:
        settings, before = self.settings, self.ingest.snapshots.peek()
        tables, ledger = self.ingest.tables, self.ingest.ledger
        if before is None:
            message = "this control plane has not read its sources yet"
            raise InvalidInput([Finding(Severity.ERROR, "NotReady", "diff", "", message, "ask again")])
        groups = [
            Group(
                item.view,
                tuple(stream.proxy for stream in item.streams if stream.proxy is not None),
                # One that a newer snapshot has not reached yet would show that snapshot's changes as the edit's.
                item.delivery.configuration if item.delivery and item.revision == before.revision else None,
                item.findings,
            )
            for item in self.pipeline.classes
        ]
        place = Place(settings.cluster, settings.network, settings.domain)
        return await diff_report(settings.cluster, before, tables, place, ledger, groups, edit, fields)

    def config(self, parameters: Mapping[str, str]) -> ConfigReport:
        """What the proxy named by `proxy` is to have, of the type `type` or of all; raises InvalidInput."""
        proxy, kind = parameters.get("proxy", ""), parameters.get("type", "")
        return config_report(self.pipeline.streams, proxy, kind, self.settings.cluster, time.monotonic(), time.time())
