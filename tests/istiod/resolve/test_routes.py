# ruff: noqa: E501 -- YAML in one line reads better
"""Routes: domains, matches, actions, retries of both profiles, rules by host, delegates."""

from __future__ import annotations

import pytest

from federation.model.service import Protocol, ServicePort
from istiod.resolve.config import resolve_view
from istiod.resolve.domains import short_names
from istiod.resolve.specs.match import HeaderMatch, MatchKind, QueryMatch, StringMatch
from istiod.resolve.specs.route import DirectResponse, Redirect, RouteAction, RouteConfigSpec, VirtualHostSpec
from istiod.resolve.unsupported import unsupported_fields
from tests.istiod.resolve.conftest import mesh_services, service

VS = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: %s, namespace: %s}
spec:
  hosts: %s
  http: %s
"""


def rule(http: str, hosts: str = "[b]", name: str = "v", namespace: str = "apps") -> str:
    return VS % (name, namespace, hosts, http) + "---\n"


def port_routes(world, who, name: str = "80") -> RouteConfigSpec:
    return next(routes for routes in resolve_view(world, who).routes if routes.name == name)


def host(world, who, name: str) -> VirtualHostSpec:
    return next(found for found in port_routes(world, who).virtual_hosts if found.name == name)


def routes_of_b(world, who):
    return host(world, who, "b.apps.svc.cluster.local:80").routes


B = "outbound|80||b.apps.svc.cluster.local"
C = "outbound|80||c.other.svc.cluster.local"


def test_virtual_hosts_of_a_port(snapshot, view):
    found = port_routes(snapshot(), view())
    assert [item.name for item in found.virtual_hosts] == [
        "a.apps.svc.cluster.local:80",
        "b.apps.svc.cluster.local:80",
        "c.other.svc.cluster.local:80",
        "allow_any",
    ]
    assert found.virtual_hosts[1].domains == (
        "b.apps.svc.cluster.local",
        "b.apps.svc.cluster.local.",
        "b.apps.svc",
        "b.apps",
        "b",
        "10.255.0.2",
    )
    assert "c" not in found.virtual_hosts[2].domains
    default = found.virtual_hosts[1].routes[0]
    assert (default.name, default.operation) == ("default", "b.apps.svc.cluster.local:80/*")
    assert default.action.clusters[0].name == B
    assert default.action.timeout == 0.0
    assert default.action.retry.attempts == 2
    blocked = port_routes(snapshot(outboundTrafficPolicy={"mode": "REGISTRY_ONLY"}), view()).virtual_hosts[-1]
    assert (blocked.name, blocked.routes[0].action) == ("block_all", DirectResponse(502))


def test_short_names_follow_the_callers_namespace():
    assert short_names("b.apps.svc.cluster.local", "other.svc.cluster.local") == ("b.apps.svc", "b.apps")
    assert short_names("ext.example.com", "apps.svc.cluster.local") == ()
    assert short_names("b.apps.svc.other.domain", "apps.svc.cluster.local") == ()


def test_match_conditions(snapshot, view):
    http = """
  - name: first
    match:
    - uri: {prefix: /api}
      ignoreUriCase: true
      method: {exact: GET}
      headers: {X-User: {regex: "a.*"}, x-seen: {}}
      withoutHeaders: {x-off: {exact: "1"}}
      queryParams: {v: {exact: "2"}}
      name: m
    route: [{destination: {host: b}}]
  - directResponse: {status: 204, body: {string: hello}}
"""
    first, last = routes_of_b(snapshot(rule(http)), view())
    assert first.name == "first.m"
    assert first.match.path == StringMatch(MatchKind.PREFIX, "/api", ignore_case=True)
    assert set(first.match.headers) == {
        HeaderMatch("x-user", StringMatch(MatchKind.REGEX, "a.*")),
        HeaderMatch("x-seen", StringMatch(MatchKind.PRESENT)),
        HeaderMatch("x-off", StringMatch(MatchKind.EXACT, "1"), invert=True, missing_is_empty=True),
        HeaderMatch(":method", StringMatch(MatchKind.EXACT, "GET")),
    }
    assert first.match.query == (QueryMatch("v", StringMatch(MatchKind.EXACT, "2")),)
    assert first.operation == "b.apps.svc.cluster.local:80/api*"
    assert first.config == "/apis/networking.istio.io/v1/namespaces/apps/virtual-service/v"
    assert last.action == DirectResponse(204, b"hello")


@pytest.mark.parametrize(
    ("match", "labels", "holds"),
    [
        ("{sourceLabels: {app: a}}", {"app": "a"}, True),
        ("{sourceLabels: {app: a}}", {"app": "z"}, False),
        ("{sourceNamespace: apps}", {}, True),
        ("{sourceNamespace: other}", {}, False),
        ("{port: 80}", {}, True),
        ("{port: 81}", {}, False),
        ("{gateways: [mesh]}", {}, True),
        ("{gateways: [web]}", {}, False),
    ],
)
def test_conditions_on_the_caller_are_decided_here(snapshot, view, match, labels, holds):
    http = f"[{{match: [{match}], directResponse: {{status: 230}}}}, {{directResponse: {{status: 231}}}}]"
    routes = routes_of_b(snapshot(rule(http)), view(labels=labels))
    assert [route.action.status for route in routes] == ([230] if holds else [231])


def test_weights_subsets_and_headers(snapshot, view):
    http = """
  - headers: {request: {set: {x-a: "1", Host: other}, add: {x-b: "2"}, remove: [x-c]}, response: {set: {x-d: "3"}}}
    rewrite: {uri: /new}
    timeout: 2s
    mirrors: [{destination: {host: a}, percentage: {value: 50}}, {destination: {host: b}, percentage: {value: 0}}]
    route:
    - {destination: {host: b, subset: v1}, weight: 30, headers: {request: {set: {Host: weighted}}}}
    - {destination: {host: c.other.svc.cluster.local}, weight: 70}
    - {destination: {host: a}, weight: 0}
"""
    (route,) = routes_of_b(snapshot(rule(http)), view())
    action = route.action
    assert [(item.name, item.weight, item.host_rewrite) for item in action.clusters] == [
        ("outbound|80|v1|b.apps.svc.cluster.local", 30, "weighted"),
        (C, 70, ""),
    ]
    assert (action.prefix_rewrite, action.host_rewrite, action.timeout) == ("/new", "other", 2.0)
    assert [(item.cluster, item.percent) for item in action.mirrors] == [
        ("outbound|80||a.apps.svc.cluster.local", 50.0)
    ]
    assert route.request_headers.set == (("x-a", "1"),)
    assert (route.request_headers.add, route.request_headers.remove) == ((("x-b", "2"),), ("x-c",))
    assert route.response_headers.set == (("x-d", "3"),)
    assert route.operation == "b.apps.svc.cluster.local:80/*"


def test_redirect_fault_and_cors(snapshot, view):
    http = """
  - match: [{uri: {prefix: /r}}]
    redirect: {uri: /to, authority: new.example.com, redirectCode: 307}
  - fault: {abort: {httpStatus: 503, percentage: {value: 10}}, delay: {fixedDelay: 400ms, percentage: {value: 5}}}
    corsPolicy: {allowOrigins: [{exact: "https://x"}], allowMethods: [GET], maxAge: 24h}
    route: [{destination: {host: b}}]
"""
    first, second = routes_of_b(snapshot(rule(http)), view())
    assert first.action == Redirect(307, host="new.example.com", path="/to")
    assert (second.fault.abort_status, second.fault.abort_percent) == (503, 10.0)
    assert (second.fault.delay, second.fault.delay_percent) == (0.4, 5.0)
    assert second.cors.allow_origins == (StringMatch(MatchKind.EXACT, "https://x"),)
    assert second.cors.max_age == 86400


def test_explicit_retries(snapshot, view):
    http = "[{retries: {attempts: 3, retryOn: '5xx,503', perTryTimeout: 1s, retryRemoteLocalities: true}, route: [{destination: {host: b}}]}]"
    for defaults in ("istio", "resilient"):
        (route,) = routes_of_b(snapshot(rule(http), isthmus={"defaults": defaults}), view())
        retry = route.action.retry
        assert (retry.attempts, retry.per_try_timeout, retry.previous_priorities) == (3, 1.0, 2)
        assert (retry.retry_on, retry.retriable_status_codes) == (("5xx", "retriable-status-codes"), (503,))
    (off,) = routes_of_b(snapshot(rule("[{retries: {attempts: 0}, route: [{destination: {host: b}}]}]")), view())
    assert off.action.retry is None


def test_resilient_profile_repeats_only_what_may_be_repeated(snapshot, view):
    world = snapshot(isthmus={"defaults": "resilient"})
    first, second = routes_of_b(world, view())
    assert first.match.headers[0].name == ":method"
    assert "GET" in first.match.headers[0].match.value
    assert "POST" not in first.match.headers[0].match.value
    assert "reset" in first.action.retry.retry_on
    assert first.action.retry.attempts == 4
    assert second.match.headers == ()
    assert set(second.action.retry.retry_on) == {"connect-failure", "refused-stream", "reset-before-request"}
    only_get = rule("[{match: [{method: {exact: GET}}], route: [{destination: {host: b}}]}]")
    (single,) = routes_of_b(snapshot(only_get, isthmus={"defaults": "resilient"}), view())
    assert "reset" in single.action.retry.retry_on


def test_consistent_hash_reaches_the_route_and_switches_previous_hosts_off(snapshot, view):
    destination_rule = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: b, namespace: apps}
spec:
  host: b
  trafficPolicy: {loadBalancer: {consistentHash: {httpCookie: {name: sticky, path: /, ttl: 60s}}}}
"""
    (route,) = routes_of_b(snapshot(destination_rule), view())
    (policy,) = route.action.hash_policies
    assert (policy.cookie, policy.cookie_path, policy.cookie_ttl) == ("sticky", "/", 60.0)
    assert route.action.retry.previous_hosts is False


@pytest.mark.parametrize("said", ["{ringHash: {minimumRingSize: 64}}", "{useSourceIp: false}"])
def test_without_anything_to_hash_there_is_no_hash_policy(snapshot, view, said):
    destination_rule = f"""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: b, namespace: apps}}
spec: {{host: b, trafficPolicy: {{loadBalancer: {{consistentHash: {said}}}}}}}
"""
    (route,) = routes_of_b(snapshot(destination_rule), view())
    assert route.action.hash_policies == ()


def test_what_istio_takes_is_taken(snapshot, view):
    http = (
        "[{match: [{port: 0}], route: [{destination: {host: b}}],"
        " corsPolicy: {allowOrigins: [{exact: '*'}], allowMethods: ['*'], allowHeaders: ['*', x.y]}}]"
    )
    world = snapshot(rule(http))
    (route,) = routes_of_b(world, view())
    assert (world.findings, route.cors.allow_methods) == ((), ("*",))


def test_nothing_behind_a_catch_all_and_the_first_match_wins(snapshot, view):
    http = "[{directResponse: {status: 230}}, {match: [{uri: {prefix: /a}}], directResponse: {status: 231}}]"
    assert [route.action.status for route in routes_of_b(snapshot(rule(http)), view())] == [230]


def test_most_specific_host_speaks_and_foreign_hosts_get_port_80(snapshot, view):
    text = (
        rule("[{directResponse: {status: 230}}]", '["*.apps.svc.cluster.local"]', "wild")
        + rule("[{directResponse: {status: 231}}]", "[b]", "exact")
        + rule("[{directResponse: {status: 232}}]", "[shop.example.com]", "foreign")
    )
    world, who = snapshot(text), view()
    assert routes_of_b(world, who)[0].action.status == 231
    assert host(world, who, "a.apps.svc.cluster.local:80").routes[0].action.status == 230
    assert host(world, who, "shop.example.com:80").domains == ("shop.example.com",)
    assert isinstance(host(world, who, "c.other.svc.cluster.local:80").routes[0].action, RouteAction)


def test_a_rule_for_tcp_only_leaves_http_alone(snapshot, view):
    text = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: t, namespace: apps}
spec: {hosts: [b], tcp: [{route: [{destination: {host: a}}]}]}
"""
    assert routes_of_b(snapshot(text), view())[0].action.clusters[0].name == B


def test_delegate(snapshot, view):
    root = rule(
        "[{match: [{uri: {prefix: /shop}}], delegate: {name: child, namespace: other}}, {directResponse: {status: 231}}]"
    )
    child = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: child, namespace: other}
spec:
  http:
  - match: [{uri: {prefix: /shop/cart}}]
    route: [{destination: {host: c.other.svc.cluster.local}}]
  - match: [{uri: {prefix: /elsewhere}}]
    directResponse: {status: 232}
  - route: [{destination: {host: b.apps.svc.cluster.local}}]
"""
    routes = routes_of_b(snapshot(root + child), view())
    assert [route.match.path.value for route in routes] == ["/shop/cart", "/shop", "/"]
    assert [route.action.clusters[0].name for route in routes[:2]] == [C, B]


def test_short_hosts_of_a_delegate_are_of_its_own_namespace(snapshot, view):
    for mirrors in ("mirror: {host: c}", "mirrors: [{destination: {host: c}}]"):
        child = f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: child, namespace: other}}
spec: {{http: [{{route: [{{destination: {{host: c}}}}], {mirrors}}}]}}
"""
        routes = routes_of_b(snapshot(rule("[{delegate: {name: child, namespace: other}}]") + child), view())
        assert routes[0].action.clusters[0].name == C
        assert [mirror.cluster for mirror in routes[0].action.mirrors] == [C]


def test_the_authority_may_be_set_or_added(snapshot, view):
    for verb in ("set", "add"):
        http = (
            f"[{{headers: {{request: {{{verb}: {{Host: x.test, x-a: '1'}}}}}}, route: [{{destination: {{host: b}}}}]}}]"
        )
        route = routes_of_b(snapshot(rule(http)), view())[0]
        assert route.action.host_rewrite == "x.test"
        assert (*route.request_headers.set, *route.request_headers.add) == (("x-a", "1"),)


def test_a_field_without_effect_is_named(snapshot):
    http = "[{fault: {delay: {exponentialDelay: 1s, percentage: {value: 1}}}, route: [{destination: {host: b}}]}]"
    findings = unsupported_fields(snapshot(rule(http)))
    assert [(item.code, item.path) for item in findings] == [
        ("FieldNotSupported", "spec.http[0].fault.delay.exponentialDelay")
    ]
    assert unsupported_fields(snapshot(rule("[{route: [{destination: {host: b}}]}]"))) == ()


def test_routes_are_shared_by_views_that_differ_in_place_only(snapshot, view):
    world = snapshot()
    assert resolve_view(world, view(cluster="x")).routes is resolve_view(world, view(cluster="y")).routes


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("{scheme: https, authority: x.test}", {"host": "x.test", "scheme": "https"}),
        ("{port: 80}", {}),  # the default port of the scheme is left out of the address
        ("{port: 443, scheme: https}", {"scheme": "https"}),
        ("{port: 443}", {"port": 443}),
        ("{derivePort: FROM_REQUEST_PORT}", {}),
    ],
)
def test_ports_of_redirects(snapshot, view, said, expected):
    found = routes_of_b(snapshot(rule(f"[{{redirect: {said}}}]")), view())[0].action
    assert {name: getattr(found, name) for name in ("host", "scheme", "port") if getattr(found, name)} == expected


def test_headers_of_a_route_and_then_of_its_destination(snapshot, view):
    route = "headers: {request: {set: {x-a: route, x-b: route}, add: {x-c: route}, remove: [x-d]}}"
    own = "headers: {request: {set: {x-a: own}, add: {x-c: own}}}"
    http = f"[{{{route}, route: [{{destination: {{host: b}}, weight: 1, {own}}}, {{destination: {{host: c.other.svc.cluster.local}}, weight: 1}}]}}]"
    (found,) = routes_of_b(snapshot(rule(http)), view())
    first = found.action.clusters[0].request_headers
    assert (found.request_headers.set, found.request_headers.remove) == ((("x-a", "route"), ("x-b", "route")), ("x-d",))
    assert (found.request_headers.add, first.add) == ((("x-c", "route"),), (("x-c", "own"),))
    assert first.set == (("x-a", "own"),)


def test_the_old_percent_counts_for_delays_and_not_for_aborts(snapshot, view):
    http = "[{fault: {delay: {percent: 100, fixedDelay: 1s}, abort: {percent: 100, httpStatus: 500}}, route: [{destination: {host: b}}]}]"
    (found,) = routes_of_b(snapshot(rule(http)), view())
    assert (found.fault.delay_percent, found.fault.abort_percent) == (100.0, 0.0)


def test_a_destination_with_all_the_weight_of_two_keeps_its_headers(snapshot, view):
    """Envoy applies them before those of the route, unlike those of a destination that is alone."""
    own = "headers: {request: {set: {x-a: own}}}"
    weighted = f"{{destination: {{host: b}}, weight: 100, {own}}}, {{destination: {{host: a}}, weight: 0}}"
    alone = f"{{destination: {{host: b}}, {own}}}"
    route = "headers: {request: {set: {x-a: route}}}"
    for destinations, at_route, at_destination in ((weighted, ("route",), ("own",)), (alone, ("route", "own"), ())):
        (found,) = routes_of_b(snapshot(rule(f"[{{{route}, route: [{destinations}]}}]")), view())
        assert tuple(value for _, value in found.request_headers.set) == at_route
        (cluster,) = found.action.clusters
        assert (cluster.name, tuple(value for _, value in cluster.request_headers.set)) == (B, at_destination)


def test_what_a_route_adds_stays_beside_what_its_destination_sets(snapshot, view):
    """Envoy sets first and adds then, whatever their order."""
    http = "[{headers: {request: {add: {x-a: route}}}, route: [{destination: {host: b}, headers: {request: {set: {x-a: own}}}}]}]"
    (found,) = routes_of_b(snapshot(rule(http)), view())
    assert (found.request_headers.set, found.request_headers.add) == ((("x-a", "own"),), (("x-a", "route"),))


def test_a_foreign_host_is_on_port_80_and_where_the_services_of_its_rule_are(snapshot, view):
    other = service("other", ports=(ServicePort(8080, "http", Protocol.HTTP, 8080),))
    for hosts, ports in (("[shop.example.com]", ["80"]), ("[shop.example.com, other]", ["80", "8080"])):
        world = snapshot(rule("[{directResponse: {status: 230}}]", hosts), services=[*mesh_services(), other])
        found = [
            routes.name
            for routes in resolve_view(world, view()).routes
            for item in routes.virtual_hosts
            if item.name.startswith("shop.") and item.routes
        ]
        assert found == ports


def test_statistics_of_a_route_may_have_a_name(snapshot, view):
    http = "[{match: [{uri: {prefix: /a}, statPrefix: first}], route: [{destination: {host: b}}]}, {route: [{destination: {host: b}}]}]"
    assert [route.stat_prefix for route in routes_of_b(snapshot(rule(http)), view())] == ["first", ""]


def test_a_redirect_exchanges_the_prefix(snapshot, view):
    said = rule("[{match: [{uri: {prefix: /old/}}], redirect: {prefixRewrite: /new/}}]")
    assert routes_of_b(snapshot(said), view())[0].action == Redirect(301, prefix="/new/")


def test_the_rule_with_routes_for_the_caller_speaks_where_several_are_exact(snapshot, view):
    text = rule("[{match: [{sourceLabels: {app: nobody}}], directResponse: {status: 230}}]", "[b]", "first") + rule(
        "[{directResponse: {status: 231}}]", "[b]", "second"
    )
    assert routes_of_b(snapshot(text), view())[0].action.status == 231


def test_no_wildcard_speaks_for_a_host_that_a_rule_names(snapshot, view):
    text = rule("[{match: [{sourceLabels: {app: nobody}}], directResponse: {status: 230}}]", "[b]", "exact") + rule(
        "[{directResponse: {status: 231}}]", '["*.apps.svc.cluster.local"]', "wild"
    )
    assert routes_of_b(snapshot(text), view())[0].action.clusters[0].name == B


def test_rules_of_the_callers_own_namespace_come_before_public_ones(snapshot, view):
    own = rule("[{directResponse: {status: 230}}]", "[b]", "z-own").replace("spec:", "spec:\n  exportTo: ['.']", 1)
    text = rule("[{directResponse: {status: 231}}]", "[b]", "a-public") + own
    assert routes_of_b(snapshot(text), view())[0].action.status == 230


def test_hosts_of_rules_are_compared_without_case_and_taken_as_they_are(snapshot, view):
    upper = rule("[{directResponse: {status: 230}}]", "[B.Apps.svc.cluster.local]")
    assert routes_of_b(snapshot(upper), view())[0].action.status == 230
    short = snapshot(rule("[{directResponse: {status: 230}}]", "[b.apps]"))
    assert host(short, view(), "b.apps:80").domains == ("b.apps",)
    assert "b.apps" not in host(short, view(), "b.apps.svc.cluster.local:80").domains
