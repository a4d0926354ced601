# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A planned change of PostgreSQL's primary during which clients of pgbouncer wait instead of failing.

Every pgbouncer is paused first, which lets transactions end and closes the connections to the old primary. Then Patroni switches
over, and each pgbouncer goes on as soon as the new primary takes writes through the HAProxy beside it, and in any case after a
time limit. Transactions that do not end in time stop it before anything is handed over.

`Network` is what the outside is; tests double it, Patroni's and the clock, and nothing else.
"""

from __future__ import annotations

import contextlib
import select
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from . import operations as patroni_operations
from .client import PatroniError

try:
    import psycopg2
except ImportError:
    psycopg2 = None

CONSOLE = "pgbouncer"
POLL_S = 0.05
CONNECT_S = 3.0
# A pgbouncer answers RESUME in milliseconds; a busy host may need several tries.
RESUME_S, RESUME_TRIES = 3.0, 4
NOT_PAUSED = "not paused"


class HandoverError(PatroniError):
    """Nothing was handed over, or not without trouble. The message says how things are now."""


class SessionError(Exception):
    """A console or a server did not answer, or answered with an error."""


class TookTooLong(SessionError):
    """There was no answer in time."""


class Session:
    """One connection that never waits longer than it is told to; psycopg2's parameters. Raises SessionError."""

    def __init__(self, seconds, **parameters):
        self._connection = None
        try:
            self._connection = psycopg2.connect(async_=1, sslmode="verify-full", gssencmode="disable", **parameters)
            self._wait(seconds)
        except psycopg2.Error as error:
            self.close()
            raise SessionError(_line(error)) from error
        except SessionError:
            self.close()
            raise

    def ask(self, statement, seconds):
        """The answer's rows, each a dict; none where the answer has no rows."""
        try:
            cursor = self._connection.cursor()
            cursor.execute(statement)
            self._wait(seconds)
            if cursor.description is None:
                return []
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        except psycopg2.Error as error:
            raise SessionError(_line(error)) from error

    def _wait(self, seconds):
        end = time.monotonic() + seconds
        while (state := self._connection.poll()) != psycopg2.extensions.POLL_OK:
            left = end - time.monotonic()
            if left <= 0:
                raise TookTooLong(f"no answer in {seconds:g} s")
            reads = [self._connection] if state == psycopg2.extensions.POLL_READ else []
            writes = [self._connection] if state == psycopg2.extensions.POLL_WRITE else []
            select.select(reads, writes, [], left)

    def close(self):
        """End the connection, also while it waits for an answer."""
        if self._connection is not None:
            self._connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_unused):
        self.close()


def _line(error):
    return " ".join(str(error).split()) or type(error).__name__


@dataclass(frozen=True)
class Access:
    """How pgbouncer's consoles and the ways to the primary are reached. `virtual_ip` is what servers' certificates are valid for."""

    ca_path: str
    virtual_ip: str
    write_port: int
    direct_port: int
    console_port: int
    console_user: str
    console_password: str = field(repr=False)
    check_user: str = "pgbouncer"
    check_password: str = field(default="", repr=False)

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Access:
        """From a module's parameters: those of ARGUMENTS, and ca_path."""
        return cls(
            ca_path=params["ca_path"],
            virtual_ip=params["virtual_ip"],
            write_port=params["write_port"],
            direct_port=params["direct_port"],
            console_port=params["pgbouncer_port"],
            console_user=params["pgbouncer_user"],
            console_password=params["pgbouncer_password"],
            check_user=params["check_user"],
            check_password=params["check_password"],
        )


# What modules take for it; the documentation fragment pgbouncer tells what it means.
ARGUMENTS = {
    "pgbouncers": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"name": {"type": "str", "required": True}, "address": {"type": "str", "required": True}},
    },
    "pgbouncer_port": {"type": "int", "default": 6432},
    "pgbouncer_user": {"type": "str", "default": "pgbouncer_admin"},
    "pgbouncer_password": {"type": "str", "no_log": True},
    "virtual_ip": {"type": "str", "required": True},
    "write_port": {"type": "int", "default": 5432},
    "direct_port": {"type": "int", "default": 5434},
    "check_user": {"type": "str", "default": "pgbouncer"},
    "check_password": {"type": "str", "no_log": True},
    "pause_timeout": {"type": "float", "default": 5.0},
}


class Network:
    """The real outside."""

    def __init__(self, access, now=time.monotonic, sleep=time.sleep):
        self.access, self.now, self.sleep = access, now, sleep

    def console(self, address=None):
        """A session with the pgbouncer at an address, or with the one that the virtual IP leads to."""
        access = self.access
        return Session(
            CONNECT_S,
            host=address or access.virtual_ip,
            port=access.console_port if address else access.write_port,
            dbname=CONSOLE,
            user=access.console_user,
            password=access.console_password,
            sslrootcert=access.ca_path,
        )

    def primary(self, address):
        """Address of the server that takes writes, as HAProxy at `address` leads to it; None where there is none."""
        access = self.access
        parameters = {
            "host": access.virtual_ip,
            "hostaddr": address,
            "port": access.direct_port,
            "dbname": "postgres",
            "user": access.check_user,
            "password": access.check_password,
            "sslrootcert": access.ca_path,
        }
        try:
            with Session(1.0, **parameters) as session:
                (row,) = session.ask("SELECT host(inet_server_addr()) AS server, pg_is_in_recovery() AS standby", 1.0)
        except SessionError:
            return None
        return None if row["standby"] else row["server"]


@dataclass
class Pool:
    """One pgbouncer, and what became of it. Times are those of the network's clock, in seconds."""

    name: str
    address: str
    session: Session | None = None
    asked_at: float | None = None
    resumed_at: float | None = None
    problem: str = ""

    def facts(self):
        """What a result tells of it."""
        waited = None if self.asked_at is None or self.resumed_at is None else round(self.resumed_at - self.asked_at, 2)
        return {"name": self.name, "address": self.address, "pause_seconds": waited, "problem": self.problem}


class Pools:
    """All pgbouncers together."""

    def __init__(self, network, balancers):
        self.network = network
        self.all = [Pool(entry["name"], entry["address"]) for entry in balancers]

    def each(self, function, pools):
        """Call a function for all these pools at the same time; what it returned, in their order."""
        with ThreadPoolExecutor(max_workers=max(len(pools), 1)) as workers:
            return list(workers.map(function, pools))

    @property
    def reached(self):
        """Those with an open console."""
        return [pool for pool in self.all if pool.session]

    def open(self):
        """Open all consoles. Raises HandoverError where the pgbouncer that clients use may be among those out of reach.

        Where none answers anywhere, there is nothing to pause: clients use the way around it.
        """
        self.each(self._open, self.all)
        away = [pool for pool in self.all if not pool.session]
        if not away:
            return
        reason = "; ".join(f"{pool.name} ({pool.problem})" for pool in away)
        try:
            with self.network.console() as session:
                rows = session.ask("SHOW CONFIG", CONNECT_S)
        except SessionError as error:
            if not self.reached:
                return
            raise HandoverError(
                f"No switchover: pgbouncer can't be paused on {reason}, and the one that the virtual IP leads to does not"
                f" answer ({error}): clients' statements would fail. Nothing was handed over"
            ) from error
        used = next((row["value"] for row in rows if row["key"] == "listen_addr"), "")
        if used not in [pool.address for pool in self.reached]:
            raise HandoverError(
                f"No switchover: pgbouncer can't be paused on {reason}, and clients use the one on {used}: their"
                " statements would fail. Nothing was handed over"
            )

    def _open(self, pool):
        try:
            pool.session = self.network.console(pool.address)
        except SessionError as error:
            pool.problem = str(error)

    def pause(self, seconds, again=False):
        """Pause all. Raises HandoverError, with all of them resumed, where one could not in that time.

        again: one that is paused already is as it should be.
        """
        self.each(lambda pool: self._pause(pool, seconds, again), self.reached)
        failed = [pool for pool in self.reached if pool.problem]
        if failed:
            reason = "; ".join(f"{pool.name}: {pool.problem}" for pool in failed)
            stuck = self.resume(self.reached)
            raise HandoverError(f"No switchover: pgbouncer could not be paused. {reason}. {_resumed(stuck)}")

    def _pause(self, pool, seconds, again):
        pool.asked_at = self.network.now()
        try:
            pool.session.ask("PAUSE", seconds)
        except TookTooLong:
            pool.problem = f"a transaction did not end in {seconds:g} s ({self._busy(pool) or 'which, is not known'})"
            # A console that waits for PAUSE takes no other command.
            self._renew(pool)
        except SessionError as error:
            if "already" in str(error) and again:
                return
            pool.problem = str(error)
            if "already" in str(error):
                # Somebody else's pause is not ours to end.
                pool.problem += ": another switchover may be going on; one that died ends its pause by itself"
                pool.asked_at = None

    def _renew(self, pool):
        pool.session.close()
        with contextlib.suppress(SessionError):
            pool.session = self.network.console(pool.address)

    def _busy(self, pool):
        """Who has a connection of the server, for a person to find it on the primary."""
        try:
            with self.network.console(pool.address) as session:
                servers = session.ask("SHOW SERVERS", CONNECT_S)
                clients = {row["ptr"]: row for row in session.ask("SHOW CLIENTS", CONNECT_S)}
        except SessionError:
            return ""
        return "; ".join(
            f"user {row['user']} in database {row['database']}, process {row['remote_pid']} of the primary"
            f"{_application(clients.get(row['link']))}, since {row['request_time']}"
            for row in servers
            if row["state"] == "active"
        )

    def resume(self, pools):
        """Resume what was paused; returns the names of those that did not answer."""
        self.each(self._resume, [pool for pool in pools if pool.asked_at is not None and pool.resumed_at is None])
        return [pool.name for pool in pools if pool.asked_at is not None and pool.resumed_at is None]

    def _resume(self, pool):
        for attempt in range(RESUME_TRIES):
            try:
                if attempt:
                    self.network.sleep(0.2)
                    pool.session.close()
                    pool.session = self.network.console(pool.address)
                pool.session.ask("RESUME", RESUME_S)
            except SessionError as error:
                if NOT_PAUSED not in str(error):
                    continue
                # Its dead man's timer was earlier, or it was restarted.
                pool.problem = pool.problem or "was resumed by somebody else before"
            pool.resumed_at = self.network.now()
            return

    def close(self):
        """Close the consoles."""
        for pool in self.reached:
            pool.session.close()


def _application(client):
    name = (client or {}).get("application_name")
    return f", application {name}" if name else ""


def _resumed(stuck):
    if not stuck:
        return "All were resumed. Nothing was handed over"
    return (
        f"RESUME failed on {', '.join(stuck)}, where the timer ends the pause, or `pgbouncer-resume disarm` now."
        " Nothing was handed over"
    )


@dataclass(frozen=True)
class Limits:
    """pause: how long transactions have to end. paused: after which clients go on in any case. whole: until all members stream
    again. In seconds.
    """

    pause: float = 5.0
    paused: float = 20.0
    whole: float = 60.0


def hand_over(client, network, balancers, leader=None, candidate=None, maximum_lag=None, limits=None, check_mode=False,
              around=contextlib.nullcontext):  # fmt: skip
    """Have the leader hand over to another member, with clients of pgbouncer waiting meanwhile.

    client: Patroni's (patroni_client). balancers: dicts with name and address; none where there is no pgbouncer. leader,
    candidate and maximum_lag as for patroni_operations.switch_over. around: a context for the time of the switchover itself.

    Returns the module's result. Raises PatroniError, of which HandoverError is one; its facts tell of every pgbouncer.
    """
    limits = limits or Limits()
    facts = patroni_operations.switch_over(client, leader, candidate, maximum_lag, limits.whole, check_mode=True)
    members = patroni_operations.read_status(client)["members"]
    facts["members"] = [{key: member[key] for key in ("name", "role", "tags")} for member in members]
    facts["pgbouncers"] = []
    if check_mode or not facts["changed"]:
        return facts
    old, new = facts["old_leader"], candidate or facts["candidates"][0]
    hosts = {member["name"]: member["host"] for member in members}

    def switch():
        with around():
            return patroni_operations.switch_over(client, old, new, maximum_lag, limits.whole, False)

    result = _while_clients_wait(network, balancers, limits, switch, hosts[new])
    result.update(candidates=facts["candidates"], members=facts["members"])
    _require_all(result, limits)
    return result


def restart_leader(client, network, balancers, name, only_pending=False, limits=None, check_mode=False):
    """Restart the leader's PostgreSQL in place, with clients of pgbouncer waiting meanwhile; for what must reach it before any standby.

    Parameters and result as for hand_over() and patroni_operations.restart_member(), which does it. Raises PatroniError.
    """
    limits = limits or Limits()
    facts = patroni_operations.restart_member(client, name, only_pending, check_mode=True)
    if check_mode or not facts["changed"]:
        return facts
    members = patroni_operations.read_status(client)["members"]
    address = next(member["host"] for member in members if member["name"] == name)

    def restart():
        return patroni_operations.restart_member(client, name, only_pending, wait_timeout=limits.whole)

    result = {"leader": name, **_while_clients_wait(network, balancers, limits, restart, address, again=True)}
    _require_all(result, limits)
    return result


def hold(network, balancers, seconds):
    """Pause every pgbouncer; transactions have so many seconds to end. One that is paused already is left so.

    Returns {changed, pgbouncers}. Raises HandoverError, with all resumed, where one could not be paused.
    """
    pools = Pools(network, balancers)
    try:
        pools.open()
        pools.pause(seconds, again=True)
    except PatroniError as error:
        facts = {**error.facts, "pgbouncers": [pool.facts() for pool in pools.all]}
        raise HandoverError(
            f"Clients could not be made to wait, and PostgreSQL was not touched. {error}", **facts
        ) from error
    finally:
        pools.close()
    return {"changed": bool(pools.reached), "pgbouncers": [pool.facts() for pool in pools.all]}


def let_go(network, balancers, seconds):
    """Resume every pgbouncer, each when a primary takes connections through the HAProxy beside it, and after so many seconds in any case.

    Returns {changed, pgbouncers}. Raises HandoverError, with all resumed, where one found no primary.
    """
    pools, late, end = Pools(network, balancers), [], network.now() + seconds
    pools.each(pools._open, pools.all)
    try:
        waiting = pools.reached
        for pool in waiting:
            pool.asked_at = network.now()
        while waiting:
            seen = pools.each(lambda pool: network.primary(pool.address), waiting)
            ready = [pool for pool, server in zip(waiting, seen) if server]
            pools.resume(ready)
            waiting = [pool for pool in waiting if pool not in ready]
            if waiting and network.now() >= end:
                late = [pool.name for pool in waiting]
                pools.resume(waiting)
                break
            if waiting:
                network.sleep(POLL_S)
    finally:
        pools.close()
    told = [{key: value for key, value in pool.facts().items() if key != "pause_seconds"} for pool in pools.all]
    if late:
        raise HandoverError(
            f"No primary takes connections through HAProxy on {', '.join(late)} after {seconds:g} s; clients were resumed. Look at"
            " HAProxy there",
            pgbouncers=told,
        )
    return {"changed": bool(pools.reached), "pgbouncers": told}


def _while_clients_wait(network, balancers, limits, act, address, again=False):
    """Pause every pgbouncer, act, and let each go on as soon as the server at `address` takes writes.

    Returns what `act` did, with what became of every pgbouncer. Raises PatroniError, with that among its facts.
    """
    pools, worker = Pools(network, balancers), ThreadPoolExecutor(max_workers=1)
    try:
        pools.open()
        try:
            pools.pause(limits.pause)
            acting = worker.submit(act)
            late = _go_on(network, pools, acting, address, limits.paused, again)
        finally:
            stuck = pools.resume(pools.all)
        result = acting.result()
    except PatroniError as error:
        error.facts["pgbouncers"] = [pool.facts() for pool in pools.all]
        raise
    finally:
        pools.close()
    told = [pool.facts() for pool in pools.all]
    result.update(pgbouncers=told, pause_seconds=max((one["pause_seconds"] or 0.0 for one in told), default=0.0))
    return {**result, "stuck": stuck, "late": late}


def _require_all(result, limits):
    """Take the names of pgbouncers that made trouble out of a result, and raise HandoverError where there are any."""
    stuck, late = result.pop("stuck"), result.pop("late")
    if stuck:
        raise HandoverError(
            f"{result['leader']} leads, but pgbouncer does not answer to RESUME on {', '.join(stuck)}. Its timer ends the"
            " pause, or `pgbouncer-resume disarm` now",
            **result,
        )
    if late:
        raise HandoverError(
            f"{result['leader']} leads, but was not seen to take writes through HAProxy on {', '.join(late)} in"
            f" {limits.paused:g} s; clients were resumed. Look at HAProxy there",
            **result,
        )


def _go_on(network, pools, acting: Future, address, seconds, again):
    """Resume each pgbouncer when the server at `address` takes writes through the HAProxy beside it.

    again: the server is the one that did before, so it must have been away, or all be over.

    Returns the names of those for which that was not seen in time; they are still paused, and so are all where the switchover
    failed.
    """
    waiting = [pool for pool in pools.reached if pool.asked_at is not None]
    end = min((pool.asked_at for pool in waiting), default=network.now()) + seconds

    gone = set()

    def look(pool):
        if network.primary(pool.address) != address:
            gone.add(pool.name)
            return False
        if again and pool.name not in gone and not acting.done():
            return False
        pools.resume([pool])
        return True

    while waiting:
        if acting.done() and acting.exception():
            return []
        if network.now() >= end:
            return [pool.name for pool in waiting]
        seen = pools.each(look, waiting)
        waiting = [pool for pool, done in zip(waiting, seen, strict=True) if not done]
        if waiting:
            network.sleep(POLL_S)
    return []
