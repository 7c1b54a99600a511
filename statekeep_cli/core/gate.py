"""The gate: how many strands a deployment may have, and which hazards (surface.md)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from statekeep_cli.core.report import Report


@dataclass(frozen=True, slots=True)
class Gate:
    """`strands` is a number, a share of the routed actors, or None for any number."""

    strands: int | Fraction | None = 0
    allow_hazards: bool = False

    @classmethod
    def parse(cls, text: str, allow_hazards: bool = False) -> Gate:
        """`N`, `N%` or `all`; raises `ValueError` with a sentence for anything else."""
        value = text.strip()
        if value == "all":
            return cls(None, allow_hazards)
        try:
            if value.endswith("%"):
                share = Fraction(value[:-1]) / 100
                if 0 <= share <= 1:
                    return cls(share, allow_hazards)
            elif int(value) >= 0:
                return cls(int(value), allow_hazards)
        except (ValueError, ZeroDivisionError):
            pass
        raise ValueError(f"'{text}' is no number of strands; give a number (10), a share (1%) or all")

    def allows_strands(self, report: Report) -> bool:
        """Shares are of the actors that are routed: migrating, stranded or staying."""
        if self.strands is None:
            return True
        if isinstance(self.strands, Fraction):
            routed = report.would_migrate + report.would_strand + report.would_stay
            return report.would_strand <= self.strands * routed
        return report.would_strand <= self.strands

    def levels(self, report: Report) -> dict[str, Literal["error", "warning"]]:
        """How serious a `strand` and a `hazard` of this report are: what the gate lets pass is a warning."""
        return {
            "strand": "warning" if self.allows_strands(report) else "error",
            "hazard": "warning" if self.allow_hazards else "error",
        }

    def refusals(self, report: Report) -> list[str]:
        """Why a report is past the gate, a sentence each; [] if it is within."""
        found = []
        if not self.allows_strands(report):
            actors = "actor strands" if report.would_strand == 1 else "actors strand"
            limit = (
                self.strands if isinstance(self.strands, int) else f"{float((self.strands or 0) * 100):g}%"
            )
            found.append(f"{report.would_strand:,} {actors}, and --max-strand allows {limit}")
        hazards = report.findings()
        if hazards and not self.allow_hazards:
            what = "hazard is" if len(hazards) == 1 else "hazards are"
            found.append(f"{len(hazards)} {what} not accepted in the definition")
        if report.unreadable:
            found.append(f"{report.unreadable:,} records could not be read")
        return found
