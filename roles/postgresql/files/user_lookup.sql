
    -- What pgbouncer may know: how applications' users prove who they are. No superuser, nobody who replicates or sees all
    -- rows, none of the platform's own users.
    SELECT rolname::text, rolpassword
    FROM pg_catalog.pg_authid
    WHERE rolname = $1
      AND rolcanlogin AND NOT (rolsuper OR rolreplication OR rolbypassrls)
      AND rolname NOT IN ('postgres', 'replicator', 'rewind', 'pgbouncer')
      AND rolpassword LIKE 'SCRAM-SHA-256$%'
      AND (rolvaliduntil IS NULL OR rolvaliduntil > now())
