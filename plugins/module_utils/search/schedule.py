# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""When snapshots are due and which ones have had their time, for servers that have no scheduler of their own.

Plain Python without imports of the collection, as a timer runs it on the hosts. What has been done is read from the repository:
every snapshot tells in its metadata which policy asked for it, and for which time. So a master that has just been elected goes on
where the last one stopped, a time that was missed is made up for, and one that is there already is never taken twice.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

MONTHS = {name: number for number, name in enumerate(calendar.month_abbr) if name}
# As Elasticsearch counts them: Sunday is 1.
WEEKDAYS = {"Sun": 1, "Mon": 2, "Tue": 3, "Wed": 4, "Thu": 5, "Fri": 6, "Sat": 7}
UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
# How far back a time is looked for: a schedule on February 29th has one within eight years.
DAYS_BACK = 366 * 8
ATTEMPTS = 3
_DURATION = re.compile(r"(\d+)(ms|s|m|h|d)")
_DATE_MATH = re.compile(r"\{now(?:/[yMwdhHms])?(?:\{([^{}]+)\})?\}")
_FORMATS = {"uuuu": "%Y", "yyyy": "%Y", "MM": "%m", "dd": "%d", "HH": "%H", "mm": "%M", "ss": "%S"}


class ScheduleError(ValueError):
    """What cannot be understood, as a sentence."""


def seconds(duration: str) -> float:
    """Seconds of a duration such as 30d. Raises ScheduleError."""
    match = _DURATION.fullmatch(str(duration))
    if not match:
        raise ScheduleError(f"{duration!r} is no duration. Write it like 30d, 12h or 90m.")
    return int(match[1]) * UNITS[match[2]]


# -- schedules --------------------------------------------------------------------------------------------------------


class Cron:
    """Elasticsearch's cron: second minute hour day month weekday [year], in UTC (its documentation, "Cron schedule").

    Understands * ? , - / and names, and L for the last day of the month. Raises ScheduleError for anything else.
    """

    def __init__(self, text: str):
        parts = text.split()
        if len(parts) not in (6, 7):
            raise ScheduleError(
                f"The schedule {text!r} has {len(parts)} fields. Write second, minute, hour, day, month and weekday, as in "
                "'0 30 1 * * ?'."
            )
        second, minute, hour, day, month, weekday = parts[:6]
        try:
            self.times = sorted(
                (hours, minutes, secs)
                for hours in _field(hour, 0, 23)
                for minutes in _field(minute, 0, 59)
                for secs in _field(second, 0, 59)
            )
            self.last_day = day == "L"
            self.days = set(range(1, 32)) if self.last_day else _field(day, 1, 31)
            self.months = _field(month, 1, 12, MONTHS)
            self.weekdays = _field(weekday, 1, 7, WEEKDAYS)
            self.years = _field(parts[6], 1970, 2200) if len(parts) == 7 else None
        except ValueError as error:
            raise ScheduleError(f"The schedule {text!r} cannot be followed here: {error}.") from error

    def on(self, day: datetime) -> bool:
        """Whether there is a time on that day."""
        last = calendar.monthrange(day.year, day.month)[1]
        return (
            day.month in self.months
            and (day.day == last if self.last_day else day.day in self.days)
            and day.isoweekday() % 7 + 1 in self.weekdays
            and (self.years is None or day.year in self.years)
        )

    def last(self, now: datetime) -> datetime | None:
        """The newest time up to now, None where there is none in years."""
        today = now.replace(hour=0, minute=0, second=0, microsecond=0)
        for back in range(DAYS_BACK):
            day = today - timedelta(days=back)
            if self.on(day):
                for hours, minutes, secs in reversed(self.times):
                    moment = day.replace(hour=hours, minute=minutes, second=secs)
                    if moment <= now:
                        return moment
        return None


class Interval:
    """Every so many minutes or hours, counted from 1970, so that it needs no memory."""

    def __init__(self, text: str):
        self.seconds = seconds(text)
        if self.seconds < 60:
            raise ScheduleError(f"The schedule {text!r} is shorter than a minute.")

    def last(self, now: datetime) -> datetime:
        stamp = now.timestamp()
        return datetime.fromtimestamp(stamp - stamp % self.seconds, UTC)


def schedule(text: str) -> Cron | Interval:
    """Understand a schedule. Raises ScheduleError."""
    return Interval(text) if _DURATION.fullmatch(text) else Cron(text)


def _field(text: str, low: int, high: int, names: dict[str, int] | None = None) -> set[int]:
    """The numbers that a field of a cron expression stands for. Raises ValueError."""
    numbers: set[int] = set()
    for item in text.split(","):
        base, slash, step = item.partition("/")
        first, dash, last = base.partition("-")
        if base in ("*", "?"):
            start, end = low, high
        else:
            start = _number(first, names)
            end = _number(last, names) if dash else (high if slash else start)
        if not low <= start <= end <= high:
            raise ValueError(f"{item!r} is not within {low} to {high}")
        numbers.update(range(start, end + 1, int(step or 1)))
    return numbers


def _number(text: str, names: dict[str, int] | None) -> int:
    if names and text.capitalize() in names:
        return names[text.capitalize()]
    if not text.isdigit():
        raise ValueError(f"{text!r} is no number")
    return int(text)


# -- snapshots --------------------------------------------------------------------------------------------------------


def iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def scheduled_of(snapshot: dict) -> datetime:
    """The time that a snapshot was taken for, or where it does not tell, at which it began."""
    told = (snapshot.get("metadata") or {}).get("scheduled")
    if told:
        return datetime.strptime(told, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    return datetime.fromtimestamp(snapshot["start_time_in_millis"] / 1000, UTC)


def of_policy(snapshots: list[dict], policy: str) -> list[dict]:
    """Those that the policy has taken, oldest first. The server's own scheduler notes the policy in the same way."""
    own = [one for one in snapshots if (one.get("metadata") or {}).get("policy") == policy]
    return sorted(own, key=lambda one: (scheduled_of(one), one["start_time_in_millis"]))


def snapshot_name(pattern: str, moment: datetime, attempt: int) -> str:
    """The name of the snapshot for a time: date math filled in, then the time itself, so that two never are the same.

    Raises ScheduleError.
    """

    def filled(match: re.Match) -> str:
        form = match[1] or "uuuu.MM.dd"
        return moment.strftime(re.sub("|".join(_FORMATS), lambda token: _FORMATS[token[0]], form))

    if pattern.startswith("<") and pattern.endswith(">"):
        pattern = _DATE_MATH.sub(filled, pattern[1:-1])
    name = f"{pattern}-{moment:%Y%m%d%H%M%S}" + (f"-{attempt}" if attempt > 1 else "")
    if name != name.lower() or re.search(r"[\s,\"*\\<>|?#{}/]", name) or name.startswith(("_", "-")):
        raise ScheduleError(f"{pattern!r} gives the snapshot name {name!r}, which no server accepts.")
    return name


def due(policy: dict, snapshots: list[dict], now: datetime) -> tuple[str, datetime] | None:
    """Name and time of the snapshot to take now, or None.

    policy: {name, schedule, snapshot_name}. snapshots: all of the repository, as the server lists them. A new policy takes its first
    one at once. One that failed is tried again, up to three times. Raises ScheduleError.
    """
    moment = schedule(policy["schedule"]).last(now)
    if moment is None:
        return None
    taken = [one for one in of_policy(snapshots, policy["name"]) if scheduled_of(one) >= moment]
    if any(one["state"] != "FAILED" for one in taken) or len(taken) >= ATTEMPTS:
        return None
    pattern = policy.get("snapshot_name") or f"<{policy['name']}-{{now/d}}>"
    return snapshot_name(pattern, moment, len(taken) + 1), moment


def surplus(policy: dict, snapshots: list[dict], now: datetime) -> list[str]:
    """Names of the policy's snapshots that are to be deleted, oldest first, by its retention, as SLM reads it.

    expire_after: those older than this go, but never so many that fewer than min_count are left. max_count: the oldest above
    it go in any case. Only complete ones are counted; incomplete ones go when they expire, failed ones as soon as there is a
    newer complete one. The newest complete one always stays. Raises ScheduleError.
    """
    retention = policy.get("retention") or {}
    own = of_policy(snapshots, policy["name"])
    complete = [one for one in own if one["state"] == "SUCCESS"]
    gone = {
        one["snapshot"]
        for one in complete[:-1][: max(0, len(complete) - _count(retention, "max_count", len(complete)))]
    }
    if retention.get("expire_after"):
        limit = now - timedelta(seconds=seconds(retention["expire_after"]))
        spare = max(0, len(complete) - max(1, _count(retention, "min_count", 0)))
        gone.update(one["snapshot"] for one in complete[:spare] if _began(one) < limit)
        gone.update(one["snapshot"] for one in own if one["state"] == "PARTIAL" and _began(one) < limit)
    if complete:
        newest = scheduled_of(complete[-1])
        gone.update(one["snapshot"] for one in own if one["state"] == "FAILED" and scheduled_of(one) <= newest)
    return [one["snapshot"] for one in own if one["snapshot"] in gone]


def _count(retention: dict, name: str, default: int) -> int:
    value = retention.get(name)
    return default if value in (None, "") else int(value)


def _began(snapshot: dict) -> datetime:
    return datetime.fromtimestamp(snapshot["start_time_in_millis"] / 1000, UTC)


def request_body(policy: dict, moment: datetime) -> dict:
    """What the server is asked for."""
    config = dict(policy.get("config") or {})
    metadata = {**(config.pop("metadata", None) or {}), "policy": policy["name"], "scheduled": iso(moment)}
    return {"indices": ",".join(policy.get("indices") or ["*"]), **config, "metadata": metadata}


def faults(policies: list[dict]) -> Iterator[str]:
    """What can't be understood in the policies, as sentences."""
    for policy in policies:
        try:
            due(policy, [], datetime.now(UTC))
            surplus(policy, [], datetime.now(UTC))
            for name in ("expire_after",):
                if (policy.get("retention") or {}).get(name):
                    seconds(policy["retention"][name])
        except ScheduleError as error:
            yield f"Policy {policy['name']}: {error}"
