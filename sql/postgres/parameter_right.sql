-- Whether this role was granted ALTER SYSTEM on one parameter.
-- Rights: none. Versions: 15 and newer.
select
  has_parameter_privilege(%(name)s, 'alter system') as held
