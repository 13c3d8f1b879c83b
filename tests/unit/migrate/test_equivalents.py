"""The names other tools give the same problem are names those tools know."""

import subprocess
import sys
from pathlib import Path

import pytest

from dbkit.postgres.migrate.rules import MIGRATION_RULES

# As of pgsafe's rules.catalog.json, eugene's hint_data.rs (E16: its examples), the
# names squawk 2.70 holds (and an older spelling), strong_migrations' error_messages.rb (2.8), the class Unsafe
# of django-pg-zero-downtime-migrations (0.19), and the rule modules of postgres-language-server, former names included.
KNOWN = {
    "pgsafe": """add-check-without-not-valid add-column-generated-stored add-column-identity
        add-column-not-null-no-default add-column-serial add-column-volatile-default
        add-domain-constraint-without-not-valid add-domain-not-null add-exclusion-constraint add-fk-without-not-valid
        add-index-non-concurrent add-primary-key-without-index add-trigger add-unique-constraint alter-column-type
        attach-partition concurrently-in-transaction detach-partition-non-concurrent drop-column drop-constraint
        drop-database drop-index-non-concurrent drop-not-null drop-table enum-value-used-in-transaction
        fk-without-covering-index forbid-nullable-fk forbidden-column-type identifier-too-long naming-convention
        prefer-bigint-primary-key prefer-identity prefer-jsonb refresh-matview-non-concurrent reindex-non-concurrent
        rename require-columns require-comment require-if-exists require-not-null require-primary-key
        require-schema-qualified require-timeout set-access-method set-logged-unlogged set-not-null truncate
        unchecked-do-block vacuum-full-cluster""",
    "eugene": "E1 E2 E3 E4 E5 E6 E7 E8 E9 E10 E11 W12 W13 W14 E15 E16",
    "squawk": """adding-field-with-default adding-foreign-key-constraint adding-not-nullable-field adding-required-field
        adding-serial-primary-key-field ban-add-column ban-add-composite-attribute ban-add-enum-value
        ban-alter-database-options ban-alter-domain-with-add-constraint ban-alter-extension
        ban-alter-function-options ban-alter-generated-expression ban-alter-identity ban-alter-policy-condition
        ban-alter-policy-roles ban-alter-role-options ban-alter-row-level-security ban-alter-sequence-values
        ban-alter-system-options ban-alter-view-options ban-char-field
        ban-concurrent-index-creation-in-transaction ban-create-domain-with-constraint ban-create-policy
        ban-detach-inheritance ban-disable-trigger ban-drop-column ban-drop-constraint ban-drop-database
        ban-drop-domain ban-drop-extension ban-drop-function ban-drop-generated-expression ban-drop-index
        ban-drop-not-null ban-drop-policy ban-drop-schema ban-drop-sequence ban-drop-table ban-drop-type
        ban-drop-view ban-new-write-restriction ban-replace-view-function ban-replica-identity ban-revoke
        ban-set-default ban-set-schema ban-truncate-cascade ban-uncommitted-transaction changing-column-type
        constraint-missing-not-valid disallowed-unique-constraint identifier-too-long prefer-bigint-over-int
        prefer-bigint-over-smallint prefer-identity prefer-repack prefer-robust-stmts prefer-text-field
        prefer-timestamp-tz renaming-column renaming-object renaming-table require-concurrent-index-creation
        require-concurrent-index-deletion require-concurrent-partition-detach require-concurrent-reindex
        require-enum-value-ordering require-lock-timeout require-statement-timeout require-table-schema
        require-timeout-settings transaction-nesting unused-ignore
        prefer-timestamptz ban-drop-default ban-drop-trigger ban-duplicate-column-assignments""",
    "strong_migrations": """add_check_constraint add_column_auto_incrementing add_column_default add_column_default_callable
        add_column_default_null add_column_generated_stored add_column_json add_exclusion_constraint add_foreign_key
        add_index add_index_columns add_index_corruption add_reference add_unique_constraint change_column
        change_column_constraint change_column_default change_column_null change_column_null_postgresql change_column_with_not_null change_table
        create_table execute remove_column remove_index rename_column rename_schema rename_table
        validate_check_constraint validate_foreign_key""",
    "django-pg-zero-downtime-migrations": """ADD_COLUMN_NOT_NULL ADD_COLUMN_GENERATED_STORED ALTER_COLUMN_TYPE
        ADD_CONSTRAINT_EXCLUDE ALTER_TABLE_RENAME ALTER_TABLE_SET_TABLESPACE ALTER_TABLE_RENAME_COLUMN""",
    "postgres-language-server": """addSerialColumn addingFieldWithDefault addingForeignKeyConstraint addingNotNullField
        addingPrimaryKeyConstraint addingRequiredField avoidAddingExclusionConstraint avoidAlterEnumAddValue avoidAttachingPartition
        avoidCreateTrigger avoidEnableDisableTrigger avoidWideLockWindow banAddExclusionConstraint banAlterEnumAddValue
        banAttachPartition banBlockingRefreshMatview banCharField banConcurrentIndexCreationInTransaction
        banCreateTrigger banDeleteWithoutWhere banDropColumn banDropDatabase banDropNotNull banDropSchema banDropTable
        banDropTrigger banEnableDisableTrigger banNotValidValidateSameTransaction banTruncate banTruncateCascade
        banUpdateWithoutWhere banVacuumFull changingColumnType concurrentRefreshMatviewLock constraintMissingNotValid
        creatingEnum disallowUniqueConstraint lockTimeoutWarning multipleAlterTable preferBigInt preferBigintOverInt
        preferBigintOverSmallint preferIdentity preferJsonb preferRobustStmts preferTextField preferTimestamptz
        renamingColumn renamingTable requireConcurrentDetachPartition requireConcurrentIndexCreation
        requireConcurrentIndexDeletion requireConcurrentRefreshMatview requireConcurrentReindex
        requireIdleInTransactionTimeout requireSeparateConstraintValidation requireStatementTimeout
        runningStatementWhileHoldingAccessExclusive transactionNesting warnRefreshMatviewConcurrent
        warnWideLockWindow""",
}
# What dbkit does not judge: house rules with settings of their own.
UNMATCHED = {
    "squawk": {"unused-ignore"},  # dbkit says that of its own comments only
    "pgsafe": {"forbidden-column-type", "naming-convention", "require-columns", "require-comment", "require-not-null"},
    "strong_migrations": {"add_column_default_null"},  # costs nothing from PostgreSQL 11 on
}


def declared(tool):
    return {name for rule in MIGRATION_RULES for name in rule.equivalents.get(tool, ())}


@pytest.mark.parametrize("tool", sorted(KNOWN))
def test_every_name_is_the_tools_own_and_none_is_missing(tool):
    known = set(KNOWN[tool].split())
    assert declared(tool) - known == set()
    assert known - declared(tool) == UNMATCHED.get(tool, set())


def test_the_installed_squawk_knows_every_name_declared_for_it():
    names = sorted(declared("squawk"))
    program = Path(sys.executable).with_name("squawk")
    done = subprocess.run(
        [str(program), f"--exclude={','.join(names)}"], input="select 1;", capture_output=True, text=True, check=False
    )
    assert len(names) > 50
    assert "invalid rule name" not in done.stderr, done.stderr
    refused = subprocess.run(
        [str(program), "--exclude=no-such-rule"], input="", capture_output=True, text=True, check=False
    )
    assert "invalid rule name" in refused.stderr
