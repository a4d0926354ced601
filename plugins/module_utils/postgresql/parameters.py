# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What PostgreSQL's parameters mean: units, equality, which need a restart, and memory settings for a host.

The tables were read from pg_settings of PostgreSQL 15 and from the documentation of 16 to 18
(https://www.postgresql.org/docs/current/runtime-config.html). Nothing here talks to a server.
"""

from __future__ import annotations

import re

MEMORY_BYTES = {"B": 1, "kB": 1024, "MB": 1024**2, "GB": 1024**3, "TB": 1024**4}
TIME_MS = {
    "us": 0.001,
    "ms": 1,
    "s": 1000,
    "min": 60 * 1000,
    "h": 60 * 60 * 1000,
    "d": 24 * 60 * 60 * 1000,
}

BASE_UNITS = {
    "8kB": """
        backend_flush_after bgwriter_flush_after checkpoint_flush_after commit_timestamp_buffers effective_cache_size
        io_combine_limit io_max_combine_limit min_parallel_index_scan_size min_parallel_table_scan_size
        multixact_member_buffers multixact_offset_buffers notify_buffers serializable_buffers shared_buffers
        subtransaction_buffers temp_buffers transaction_buffers wal_buffers wal_writer_flush_after""",
    "B": """
        log_parameter_max_length log_parameter_max_length_on_error track_activity_query_size wal_decode_buffer_size""",
    "kB": """
        autovacuum_work_mem gin_pending_list_limit huge_page_size log_rotation_size log_temp_files
        logical_decoding_work_mem maintenance_work_mem max_stack_depth temp_file_limit vacuum_buffer_usage_limit
        wal_skip_threshold work_mem""",
    "MB": """
        max_slot_wal_keep_size max_wal_size min_dynamic_shared_memory min_wal_size wal_keep_size""",
    "ms": """
        autovacuum_vacuum_cost_delay bgwriter_delay client_connection_check_interval deadlock_timeout
        idle_in_transaction_session_timeout idle_session_timeout lock_timeout log_autovacuum_min_duration
        log_min_duration_sample log_min_duration_statement log_startup_progress_interval max_standby_archive_delay
        max_standby_streaming_delay recovery_min_apply_delay statement_timeout tcp_user_timeout transaction_timeout
        vacuum_cost_delay wal_receiver_timeout wal_retrieve_retry_interval wal_sender_timeout wal_writer_delay""",
    "s": """
        archive_timeout authentication_timeout autovacuum_naptime checkpoint_timeout checkpoint_warning
        idle_replication_slot_timeout post_auth_delay pre_auth_delay tcp_keepalives_idle tcp_keepalives_interval
        wal_receiver_status_interval""",
    "min": """
        log_rotation_age old_snapshot_threshold wal_summary_keep_time""",
}
UNIT_OF = {name: unit for unit, names in BASE_UNITS.items() for name in names.split()}

_RESTART = """
    archive_mode autovacuum_freeze_max_age autovacuum_max_workers autovacuum_multixact_freeze_max_age
    autovacuum_worker_slots bonjour bonjour_name cluster_name commit_timestamp_buffers config_file data_directory
    data_sync_retry debug_io_direct dynamic_shared_memory_type event_source external_pid_file hba_file hot_standby
    huge_page_size huge_pages ident_file ignore_invalid_pages io_max_combine_limit io_max_concurrency io_method
    jit_provider listen_addresses logging_collector max_active_replication_slots max_connections
    max_files_per_process max_locks_per_transaction max_logical_replication_workers max_notify_queue_pages
    max_pred_locks_per_transaction max_prepared_transactions max_replication_slots max_wal_senders
    max_worker_processes min_dynamic_shared_memory multixact_member_buffers multixact_offset_buffers notify_buffers
    old_snapshot_threshold port recovery_target recovery_target_action recovery_target_inclusive recovery_target_lsn
    recovery_target_name recovery_target_time recovery_target_timeline recovery_target_xid reserved_connections
    serializable_buffers shared_buffers shared_memory_type shared_preload_libraries subtransaction_buffers
    superuser_reserved_connections trace_connection_negotiation track_activity_query_size track_commit_timestamp
    transaction_buffers unix_socket_directories unix_socket_group unix_socket_permissions wal_buffers
    wal_decode_buffer_size wal_level wal_log_hints"""
RESTART_PARAMETERS = frozenset(_RESTART.split())
"""Parameters of context "postmaster": a change waits for a restart. Patroni decides; this is for the forecast."""

SHARED_MEMORY_PARAMETERS = (
    "max_connections",
    "max_locks_per_transaction",
    "max_prepared_transactions",
    "max_wal_senders",
    "max_worker_processes",
)
"""A standby must have each of these at least as high as its primary, or its recovery pauses (documentation of hot
standby, "Administrator's Overview"): so raise them on the standbys first, and lower them on the primary first."""

PATRONI_DEFAULTS = {
    "max_connections": 100,
    "max_locks_per_transaction": 64,
    "max_prepared_transactions": 0,
    "max_wal_senders": 10,
    "max_worker_processes": 8,
}
"""What Patroni gives the server when its configuration does not name the parameter (Patroni 3.0 to 4.1)."""

_QUANTITY = re.compile(r"^\s*([+-]?(?:0x[0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?))\s*([A-Za-z]*)\s*$")
_TRUE = ("on", "true", "yes")
_FALSE = ("off", "false", "no")


def boolean(value):
    """True or False where PostgreSQL would read `value` as one by a word, None for everything else (also 0 and 1)."""
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    return True if word in _TRUE else False if word in _FALSE else None


def number(text):
    """The number that PostgreSQL reads in `text`: decimal, 0x hexadecimal, or octal with a leading 0."""
    sign = -1 if text.startswith("-") else 1
    digits = text.lstrip("+-")
    if digits.lower().startswith("0x"):
        return sign * int(digits, 16)
    if len(digits) > 1 and digits.startswith("0") and digits.isdigit() and not set(digits) & set("89"):
        return sign * int(digits, 8)
    return sign * float(digits)


def quantity(name, value):
    """`value` of parameter `name` as (kind, amount), so that two spellings of one amount are equal.

    kind is "bytes", "ms" or "number". Returns None when the value is no number. A number without a unit counts in the
    parameter's own unit, as in PostgreSQL; -1 and 0, which often mean "automatic" or "off", are the same in any unit.
    """
    if isinstance(value, bool) or value is None:
        return None
    found = _QUANTITY.match(str(value))
    if not found:
        return None
    amount, unit = number(found.group(1)), found.group(2) or UNIT_OF.get(name, "")
    if amount in (0, -1):
        return ("number", amount)
    if unit == "8kB":
        return ("bytes", amount * 8 * 1024)
    if unit in MEMORY_BYTES:
        return ("bytes", amount * MEMORY_BYTES[unit])
    if unit in TIME_MS:
        return ("ms", amount * TIME_MS[unit])
    return None if unit else ("number", amount)


def same(name, one, other):
    """Whether PostgreSQL takes `one` and `other` for the same value of parameter `name`.

    >>> same("shared_buffers", "16MB", 2048), same("wal_log_hints", "on", True), same("work_mem", "4MB", 4)
    (True, True, False)
    """
    if type(one) is type(other) and one == other or str(one) == str(other):
        return True
    if one is None or other is None or isinstance(one, (dict, list)) or isinstance(other, (dict, list)):
        return False
    words = boolean(one), boolean(other)
    if None not in words:
        return words[0] == words[1]
    if any(word is not None for word in words):
        word, rest = (words[0], other) if words[0] is not None else (words[1], one)
        return str(rest).strip() in (("1",) if word else ("0",))
    amounts = quantity(name, one), quantity(name, other)
    return None not in amounts and amounts[0] == amounts[1]


def lowered(before, after):
    """Which of the five shared-memory parameters `after` sets lower than `before`, two dictionaries of parameters."""
    return _moved(before, after, lambda old, new: new < old)


def raised(before, after):
    """Which of the five shared-memory parameters `after` sets higher than `before`, two dictionaries of parameters."""
    return _moved(before, after, lambda old, new: new > old)


def _moved(before, after, condition):
    moved = []
    for name in SHARED_MEMORY_PARAMETERS:
        old, new = (_count(name, values.get(name)) for values in (before, after))
        if old is not None and new is not None and condition(old, new):
            moved.append(name)
    return moved


def _count(name, value):
    found = quantity(name, PATRONI_DEFAULTS[name] if value is None else value)
    return found[1] if found else None


def needs_restart(names):
    """The names among `names` whose change waits for a restart of the server, sorted."""
    return sorted(name for name in names if name.lower() in RESTART_PARAMETERS)


def memory(ram_mb, share=1.0, max_connections=100):
    """Memory settings for a server that may use `share` (0 to 1) of a host's `ram_mb` MiB, as PostgreSQL writes them.

    Sources:
    - shared_buffers: a quarter ("a reasonable starting value for shared_buffers is 25 % of the memory in your system",
      documentation of shared_buffers).
    - effective_cache_size: three quarters of the share (PostgreSQL wiki, "Tuning Your PostgreSQL Server"); an estimate
      for the planner, it reserves nothing.
    - maintenance_work_mem: a sixteenth, at most 2 GB (pgtune); autovacuum_work_mem: half of it, since
      autovacuum_max_workers (3) of them can run at once.
    - work_mem: what shared_buffers leaves, divided by three operations in each connection (pgtune), at least 1 MB.
    - wal_buffers: a thirty-second of shared_buffers, at most one WAL segment (what -1 means in the documentation); set
      explicitly, so that its value does not change the reason of a pending restart.

    Values are rounded down in steps of 1/16 to 1/8, so that hosts whose RAM differs by a few pages get the same ones.
    Raises ValueError when what is left is not enough to run on.
    """
    ram_mb, share, max_connections = float(ram_mb), float(share), int(max_connections)
    if not 0 < share <= 1:
        raise ValueError(f"share is {share:g}, but must be more than 0 and at most 1")
    if max_connections < 1:
        raise ValueError(f"max_connections is {max_connections}, but must be at least 1")
    available_kb = int(ram_mb * share * 1024)
    if available_kb < 128 * 1024:
        raise ValueError(
            f"{ram_mb:g} MB of RAM with a share of {share:g} leave {available_kb // 1024} MB for PostgreSQL,"
            " but it needs at least 128 MB: give the host more memory or PostgreSQL a larger share"
        )
    shared_buffers = _round_down(available_kb // 4)
    maintenance = min(_round_down(available_kb // 16), 2 * 1024**2)
    work = max(_round_down((available_kb - shared_buffers) // (3 * max_connections)), 1024)
    settings = {
        "shared_buffers": shared_buffers,
        "effective_cache_size": _round_down(available_kb * 3 // 4),
        "maintenance_work_mem": maintenance,
        "autovacuum_work_mem": _round_down(maintenance // 2),
        "work_mem": work,
        "wal_buffers": min(_round_down(shared_buffers // 32), 16 * 1024),
    }
    return {name: write_kb(kb) for name, kb in settings.items()}


def _round_down(kb):
    """`kb` without its bits below the fourth: 1/16 to 1/8 of its size."""
    step = 1 << max(kb.bit_length() - 4, 0)
    return kb // step * step


def write_kb(kb):
    """`kb` kibibytes in the largest unit of PostgreSQL that keeps it whole, for example 2048 -> "2MB"."""
    for unit, size in (("GB", 1024**2), ("MB", 1024)):
        if kb >= size and kb % size == 0:
            return f"{kb // size}{unit}"
    return f"{kb}kB"
