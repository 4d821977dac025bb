from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from federation.model.names import NamespacedName
from istiod.api.kinds import Kind
from istiod.api.meta import Invalid
from istiod.events import MESH_KEY, Delete, Event, Findings, Upsert
from istiod.sources.contents import Contents, MeshFile
from istiod.store import Store, Tables


def entry(name: str, host: str = "a.com", namespace: str = "apps") -> str:
    return (
        f"apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}, namespace: {namespace}}}\n"
        f"spec: {{hosts: [{host}], ports: [{{number: 80, name: http}}]}}\n---\n"
    )


def short(events: list[Event]) -> list[str]:
    lines = []
    for event in events:
        match event:
            case Upsert(kind, key, value):
                lines.append(f"+{kind} {key} {value.spec.hosts[0]}")
            case Delete(kind, key):
                lines.append(f"-{kind} {key}")
            case Findings(source, findings):
                lines.append(f"{source}: " + ",".join(f"{one.code} {one.object}" for one in findings))
    return lines


def test_put_change_remove() -> None:
    contents = Contents()
    contents.put("a.yaml", entry("one") + entry("two"))
    assert short(contents.events()) == ["+ServiceEntry apps/one a.com", "+ServiceEntry apps/two a.com"]
    contents.put("a.yaml", entry("one") + entry("two", "b.com"))
    assert short(contents.events()) == ["+ServiceEntry apps/two b.com"]
    contents.put("a.yaml", "# a comment\n" + entry("two", "b.com"))
    assert short(contents.events()) == ["-ServiceEntry apps/one"]
    assert contents.events() == []
    contents.remove("a.yaml")
    assert short(contents.events()) == ["-ServiceEntry apps/two"]
    contents.remove("a.yaml")
    assert contents.events() == []


def test_unchanged_documents_keep_their_objects() -> None:
    contents = Contents()
    contents.put("a.yaml", entry("one") + entry("two"))
    first = next(event for event in contents.events() if isinstance(event, Upsert))
    contents.put("a.yaml", entry("one") + entry("two", "b.com"))
    contents.put("b.yaml", "")
    contents.events()
    assert contents._said[(first.kind, first.key)] is first.value


def test_broken_part_is_absent_and_named() -> None:
    contents = Contents()
    contents.put("a.yaml", entry("one") + entry("two"))
    contents.events()
    contents.put("a.yaml", entry("one") + "kind: [\n---\n" + entry("two").replace("80", "0"))
    assert short(contents.events()) == [
        "-ServiceEntry apps/two", "file a.yaml: NotYaml File a.yaml,InvalidValue ServiceEntry apps/two",
    ]  # fmt: skip
    contents.put("a.yaml", entry("one") + entry("two"))
    assert short(contents.events()) == ["+ServiceEntry apps/two a.com", "file a.yaml: "]


def test_invalid_security_policy_travels() -> None:
    contents = Contents()
    contents.put(
        "a.yaml",
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: p}\nspec: {mtls: {mode: X}}\n",
    )
    upsert = contents.events()[0]
    assert isinstance(upsert, Upsert)
    assert isinstance(upsert.value, Invalid)


def test_first_file_by_name_counts_whatever_came_first() -> None:
    contents = Contents()
    contents.put("b.yaml", entry("one", "b.com"))
    contents.events()
    contents.put("a.yaml", entry("one", "a.com"))
    assert short(contents.events()) == [
        "+ServiceEntry apps/one a.com", "file b.yaml: DuplicateObject ServiceEntry apps/one",
    ]  # fmt: skip
    contents.put("c.yaml", entry("one", "c.com"))
    assert short(contents.events()) == ["file c.yaml: DuplicateObject ServiceEntry apps/one"]
    contents.remove("a.yaml")
    events = contents.events()
    assert short(events) == [
        "+ServiceEntry apps/one b.com", "file b.yaml: ", "file c.yaml: DuplicateObject ServiceEntry apps/one",
    ]  # fmt: skip
    assert isinstance(events[2], Findings)
    assert "b.yaml" in events[2].findings[0].message


def test_twice_in_one_file() -> None:
    contents = Contents()
    contents.put("a.yaml", entry("one", "a.com") + entry("one", "b.com"))
    assert short(contents.events()) == [
        "+ServiceEntry apps/one a.com", "file a.yaml: DuplicateObject ServiceEntry apps/one",
    ]  # fmt: skip


def test_half_written_waits_unless_settled() -> None:
    contents = Contents()
    assert contents.put("a.yaml", "", settled=False)  # nothing was there before
    contents.put("a.yaml", entry("one"))
    contents.events()
    for text in ("", "  \n", entry("two") + "kind: ["):
        assert not contents.put("a.yaml", text, settled=False)
        assert contents.events() == []
    assert contents.put("a.yaml", entry("two"), settled=False)
    assert contents.put("a.yaml", "")
    assert short(contents.events()) == ["-ServiceEntry apps/one"]


def test_mesh_file_stands_when_it_breaks() -> None:
    mesh = MeshFile(Kind.MESH_CONFIG, "mesh.yaml", "istio")
    (upsert,) = mesh.put("trustDomain: a.b\n")
    assert isinstance(upsert, Upsert)
    assert (upsert.kind, upsert.key, upsert.value.trust_domain) == (Kind.MESH_CONFIG, MESH_KEY, "a.b")
    assert upsert.value.isthmus.defaults == "istio"
    assert mesh.put("trustDomain: a.b\n") == []
    for text, code in (("", "FileUnreadable"), ("trustDomain: [", "NotYaml"), ("trust: a", "UnknownField")):
        (findings,) = mesh.put(text)
        assert isinstance(findings, Findings)
        assert [one.code for one in findings.findings] == [code]
    assert mesh.put("trustDomain: a.b\n") == [Findings("file mesh.yaml", ())]


names = st.sampled_from(["a.yaml", "b.yaml", "sub/c.yaml"])
texts = st.lists(
    st.sampled_from(
        [
            entry("one", "1.com"),
            entry("one", "2.com"),
            entry("two"),
            entry("three").replace("80", "0"),
            "kind: [\n---\n",
        ]
    ),
    max_size=4,
).map("".join)


@given(st.lists(st.tuples(names, st.none() | texts, st.booleans()), max_size=12), st.integers())
@settings(max_examples=200, deadline=None)
def test_tables_are_a_function_of_the_files(steps: list[tuple[str, str | None, bool]], seed: int) -> None:
    """However the files came to be as they are, what is said of them is what a fresh start would say."""
    contents, store = Contents(), Store()
    files: dict[str, str] = {}
    for name, text, look in steps:
        if text is None:
            contents.remove(name)
            files.pop(name, None)
        else:
            contents.put(name, text)
            files[name] = text
        if look:
            store.apply(contents.events())
    store.apply(contents.events())
    fresh, other = Contents(), Store()
    order = list(files)
    random.Random(seed).shuffle(order)
    for name in order:
        fresh.put(name, files[name])
    other.apply(fresh.events())
    assert plain(store.tables()) == plain(other.tables())


def plain(tables: Tables) -> tuple[object, ...]:
    rows: dict[NamespacedName, object] = dict(tables.of(Kind.SERVICE_ENTRY))
    return rows, tables.findings
