"""Localities: where a workload runs, as region, zone and subzone.

Owns the text form `region/zone/subzone`; knows nothing of balancing.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Locality:
    """A place; an empty part means "not said"."""

    region: str = ""
    zone: str = ""
    subzone: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.region, self.zone, self.subzone) if part)

    @classmethod
    def parse(cls, text: str) -> Locality:
        """Read `region[/zone[/subzone]]`; further parts belong to the subzone, as in Istio's label form."""
        region, _, rest = text.partition("/")
        zone, _, subzone = rest.partition("/")
        return cls(region, zone, subzone)

    def matched_by(self, pattern: str) -> bool:
        """Whether a `localityLbSetting` pattern (`*`, `region/*`, `region/zone/*`, or a whole locality) covers this
        one.
        """
        for part, mine in zip(pattern.split("/"), (self.region, self.zone, self.subzone), strict=False):
            if part == "*":
                return True
            if part != mine:
                return False
        return True


NO_LOCALITY = Locality()
