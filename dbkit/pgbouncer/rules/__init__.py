"""Every rule about PgBouncer, in the order in which a report shows them."""

from __future__ import annotations

from typing import Any, Final

from dbkit.pgbouncer.rules import (
    access,
    console,
    drift,
    fit,
    fleet,
    load,
    misread,
    network,
    reading,
    reloading,
    sessions,
    sharing,
    sizes,
    starting,
    timeouts,
    users,
)
from dbkit.rules import Rule

POOLER_RULES: Final[tuple[Rule[..., Any], ...]] = (
    reading.file_rejected,
    reading.tls_incomplete,
    starting.start_refused,
    reading.section_reopened,
    reading.line_without_effect,
    misread.value_misread,
    misread.include_relative,
    misread.fallback_broken,
    reloading.reload_breaks,
    reloading.reload_changes,
    reloading.reload_ignores,
    access.no_user_source,
    access.auth_type_weak,
    access.no_console_user,
    access.auth_query_unsafe,
    access.password_in_file,
    access.userlist_weak,
    network.client_plaintext,
    network.server_unverified,
    network.version_vulnerable,
    sizes.differs,
    sizes.pool_unbounded,
    sizes.pool_over_limit,
    users.user_limits,
    users.user_unknown,
    fit.pool_over_server,
    fit.clients_over_limit,
    fit.file_descriptors,
    sessions.session_features,
    users.user_pool_mode,
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
    load.limits_nearly_reached,
    load.servers_idle,
    console.wait_average,
    load.load_above_baseline,
    console.database_paused,
    drift.config_drift,
)

FLEET_RULES: Final[tuple[Rule[..., Any], ...]] = (
    fleet.siblings_differ,
    fleet.poolers_over_server,
    fleet.peers_incomplete,
)
"""Rules that hold several poolers of one run against each other."""
