from istiod.registry import addresses
from istiod.registry.addresses import allocate

HOSTS = [f"s{number}.ns.svc.cluster.local" for number in range(3_000)]


def test_addresses_are_unique_in_range_and_kept() -> None:
    ledger = allocate(HOSTS, {})
    assert len(set(ledger.values())) == len(HOSTS)
    assert all(address.startswith("240.240.") for address in ledger.values())
    more = allocate(["new.test", *reversed(HOSTS)], ledger)
    assert {host: more[host] for host in HOSTS} == ledger
    assert allocate(HOSTS[::-1], {}) == ledger


def test_range_used_up(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(addresses, "SIZE", 10)
    ledger = allocate(HOSTS[:12], {})
    assert len(ledger) == 10
