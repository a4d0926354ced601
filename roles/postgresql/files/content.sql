SELECT json_build_object(
  'users', (
    SELECT json_object_agg(rolname, json_build_object('password', rolpassword, 'flags', array_remove(ARRAY[
      CASE WHEN rolsuper THEN 'SUPERUSER' END, CASE WHEN rolcreaterole THEN 'CREATEROLE' END,
      CASE WHEN rolcreatedb THEN 'CREATEDB' END, CASE WHEN rolinherit THEN 'INHERIT' END,
      CASE WHEN rolcanlogin THEN 'LOGIN' END, CASE WHEN rolreplication THEN 'REPLICATION' END,
      CASE WHEN rolbypassrls THEN 'BYPASSRLS' END], NULL)))
    FROM pg_authid WHERE rolname IN (SELECT json_array_elements_text(%(users)s))),
  'members', (
    SELECT json_agg(json_build_array(pg_get_userbyid(roleid), pg_get_userbyid(member))) FROM pg_auth_members),
  'databases', (
    SELECT json_object_agg(datname, json_build_object('owner', pg_get_userbyid(datdba), 'encoding', pg_encoding_to_char(encoding)))
    FROM pg_database),
  'lookup', EXISTS (
    SELECT FROM pg_proc AS f JOIN pg_namespace AS n ON n.oid = f.pronamespace
    WHERE n.nspname = 'pgbouncer' AND f.proname = 'user_lookup' AND f.prosrc = %(lookup)s
      AND f.prosecdef AND f.proconfig = ARRAY['search_path=pg_catalog, pg_temp']
      AND pg_get_userbyid(f.proowner) = 'postgres' AND pg_get_userbyid(n.nspowner) = 'postgres'
      AND ARRAY['pgbouncer', 'postgres'] = ARRAY(SELECT pg_get_userbyid(grantee)::text FROM aclexplode(f.proacl) ORDER BY 1)
      AND ARRAY['pgbouncer'] = ARRAY(
            SELECT pg_get_userbyid(grantee)::text FROM aclexplode(n.nspacl) WHERE grantee <> n.nspowner))
)::text AS content
