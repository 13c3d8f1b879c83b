"""Every rule about PgBouncer, in the order in which a report shows them."""

from __future__ import annotations

from typing import Any, Final

from dbkit.pgbouncer.rules import access, console, reading, reloading, sharing, sizes, timeouts
from dbkit.rules import Rule

POOLER_RULES: Final[tuple[Rule[..., Any], ...]] = (
    reading.file_rejected,
    reading.tls_incomplete,
    reading.section_reopened,
    reading.line_without_effect,
    reading.value_misread,
    reading.include_relative,
    reading.fallback_broken,
    reloading.reload_breaks,
    reloading.reload_changes,
    reloading.reload_ignores,
    access.no_user_source,
    access.auth_type_weak,
    access.no_console_user,
    access.auth_query_unsafe,
    access.password_in_file,
    access.userlist_weak,
    access.client_plaintext,
    access.server_unverified,
    access.version_vulnerable,
    sizes.differs,
    sizes.pool_unbounded,
    sizes.pool_over_limit,
    sizes.pool_over_server,
    sizes.clients_over_limit,
    sizes.file_descriptors,
    sharing.session_features,
    sharing.prepared_statements,
    sharing.startup_parameters,
    sharing.state_leaks,
    sharing.statement_mode,
    sharing.processes_uncounted,
    timeouts.wait_outlives_client,
    timeouts.timeout_order,
    timeouts.timeout_kills_long_work,
    timeouts.login_slower_than_client,
    console.clients_wait,
    console.pool_nearly_full,
    console.limits_nearly_reached,
    console.servers_idle,
    console.wait_average,
    console.database_paused,
    console.config_drift,
)
