# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a wrong inventory is told: faults, each with where, which setting, what and what to do."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong: `where` is 'host NAME' or 'group NAME', `problem` continues the setting's name."""

    where: str
    setting: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        end = "" if self.remedy.endswith("?") else "."
        return f"{self.where}: {self.setting} {self.problem}. {self.remedy}{end}"


class TopologyError(ValueError):
    """The inventory can't become a topology; `faults` has every reason that was found."""

    def __init__(self, faults: list[Fault]):
        self.faults = faults
        super().__init__(report(faults))


@dataclass
class Findings:
    """Collects what the rules find, so that one run tells all of it."""

    faults: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)

    def refuse(self, where: str, setting: str, problem: str, remedy: str) -> None:
        """Record a fault that makes the inventory unusable; the same one is told once."""
        fault = Fault(where, setting, problem, remedy)
        if fault not in self.faults:
            self.faults.append(fault)

    def warn(self, where: str, setting: str, problem: str, remedy: str) -> None:
        """Record what is allowed but costs something that a person should know."""
        self.warnings.append(Fault(where, setting, problem, remedy))


def report(faults: list[Fault]) -> str:
    """Return the numbered list that a person reads."""
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    lines = [f"The inventory is refused and no host was touched: {count}."]
    lines += [f"{number:>3}. {fault}" for number, fault in enumerate(faults, start=1)]
    return "\n".join(lines)
