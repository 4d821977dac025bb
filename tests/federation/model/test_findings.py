from federation.model.errors import Denied, InvalidInput, IsthmusError
from federation.model.findings import Finding, Severity

WEIGHT = Finding(
    Severity.ERROR, "BadWeight", "VirtualService shop/echo", "spec.http[0].route[1].weight", "-1 is below 0", "use 0"
)


def test_text_says_how_bad_what_where_and_what_to_do() -> None:
    assert str(WEIGHT) == (
        "error BadWeight: VirtualService shop/echo spec.http[0].route[1].weight: -1 is below 0; use 0"
    )


def test_what_is_not_known_is_left_out() -> None:
    assert str(Finding(Severity.INFO, "Note", "File a.yaml", "", "is empty")) == "info Note: File a.yaml: is empty"


def test_the_worst_is_the_greatest() -> None:
    severities = [Severity.WARNING, Severity.ERROR, Severity.INFO]
    assert max(severities) is Severity.ERROR
    warning = Finding(Severity.WARNING, "A", "a", "", "")
    assert sorted([WEIGHT, warning]) == [warning, WEIGHT]


def test_invalid_input_tells_everything_at_once() -> None:
    other = Finding(Severity.WARNING, "Other", "x", "", "y")
    wrong = InvalidInput([WEIGHT, other])
    assert wrong.findings == (WEIGHT, other)
    assert str(wrong) == f"{WEIGHT}\n{other}"
    assert isinstance(wrong, IsthmusError)
    assert not isinstance(wrong, Denied)
