-- One call, many executions of one account. Where nothing stands in the way of any of them, they
-- are booked as a set, with one statement a table; else one after the other, as single calls.
-- Lateral subqueries with a limit look up one key after the other, whatever the planner thinks of
-- a table's size.

CREATE FUNCTION reserve_many(
    p_account_id text, p_keys bytea[], p_attempts text[], p_amounts_mc bigint[], p_ttl interval,
    p_fingerprints text[], p_dimensions text[])
RETURNS TABLE (answer text, available_mc bigint, reserved_at timestamptz)
LANGUAGE plpgsql AS $$
DECLARE
    a record;
    v_now timestamptz;
    v_count integer := cardinality(p_keys);
    v_total bigint := (SELECT sum(mc) FROM unnest(p_amounts_mc) AS mc);
    v_available bigint;
BEGIN
    SELECT account_no, state, eligible INTO a FROM accounts
    WHERE account_id = p_account_id FOR NO KEY UPDATE;
    v_now := clock_timestamp();
    SELECT sum(g.available_mc) INTO v_available FROM grants g
    WHERE account_no = a.account_no AND expires_at > v_now;

    IF a.state IS DISTINCT FROM 'open' OR NOT a.eligible OR v_total > v_available
        OR v_count <> (SELECT count(DISTINCT key) FROM unnest(p_keys) AS key)
        OR EXISTS (SELECT FROM reservations WHERE account_no = a.account_no
                   AND deadline <= v_now)
        OR EXISTS (
            SELECT FROM unnest(p_keys) AS call (key) CROSS JOIN LATERAL (
                SELECT FROM reservations
                WHERE account_no = a.account_no AND execution_key = call.key LIMIT 1) AS seen)
        OR EXISTS (
            SELECT FROM unnest(p_keys) AS call (key) CROSS JOIN LATERAL (
                SELECT FROM outcomes
                WHERE account_no = a.account_no AND execution_key = call.key LIMIT 1) AS seen)
        OR EXISTS (
            SELECT FROM caps c
            JOIN unnest(p_amounts_mc, p_dimensions) AS call (mc, dimensions)
                ON matches(c, string_to_array(call.dimensions, E'\t'))
            WHERE c.account_no = a.account_no
            GROUP BY c.account_no, c.cap_no
            HAVING sum(mc) > c.limit_mc - CASE WHEN c.window_start = window_of(c.cap_window, v_now)
                                               THEN c.charged_mc + c.reserved_mc ELSE 0 END)
    THEN
        RETURN QUERY SELECT one.* FROM
            unnest(p_keys, p_attempts, p_amounts_mc, p_fingerprints, p_dimensions)
                AS call (key, attempt, mc, fingerprint, dimensions)
            CROSS JOIN LATERAL reserve(p_account_id, call.key, call.attempt, call.mc, p_ttl,
                call.fingerprint, string_to_array(call.dimensions, E'\t')) AS one;
        RETURN;
    END IF;

    -- Calls and grants are laid end to end; where a call and a grant overlap is a slice.
    WITH call AS MATERIALIZED (
        SELECT n, key, attempt, mc, fingerprint, string_to_array(joined, E'\t') AS dimensions,
            sum(mc) OVER (ORDER BY n) - mc AS before
        FROM unnest(p_keys, p_attempts, p_amounts_mc, p_fingerprints, p_dimensions)
            WITH ORDINALITY AS call (key, attempt, mc, fingerprint, joined, n)),
    pot AS MATERIALIZED (
        SELECT grant_no, g.available_mc AS mc, sum(g.available_mc)
            OVER (ORDER BY priority, expires_at, created_at, grant_no) - g.available_mc AS before
        FROM grants g WHERE account_no = a.account_no AND expires_at > v_now
            AND g.available_mc > 0),
    slice AS MATERIALIZED (
        SELECT n, grant_no, (least(call.before + call.mc, pot.before + pot.mc)
            - greatest(call.before, pot.before))::bigint AS mc
        FROM call JOIN pot
            ON pot.before < call.before + call.mc AND call.before < pot.before + pot.mc),
    sliced AS (
        SELECT n, array_agg(grant_no) AS grants, array_agg(mc) AS parts FROM slice GROUP BY n),
    taken AS (
        UPDATE grants g SET available_mc = g.available_mc - part.mc,
            reserved_mc = g.reserved_mc + part.mc
        FROM (SELECT grant_no, sum(mc) AS mc FROM slice GROUP BY grant_no) AS part
        WHERE g.account_no = a.account_no AND g.grant_no = part.grant_no),
    note AS MATERIALIZED (
        SELECT n, call.mc, cap_no, window_of(c.cap_window, v_now) AS window_start
        FROM call JOIN caps c ON c.account_no = a.account_no AND matches(c, call.dimensions)),
    noted AS (
        SELECT n, array_agg(cap_no) AS caps, array_agg(window_start) AS windows
        FROM note GROUP BY n),
    counted AS (
        UPDATE caps c SET window_start = used.window_start,
            charged_mc = CASE WHEN c.window_start = used.window_start
                              THEN c.charged_mc ELSE 0 END,
            reserved_mc = used.mc + CASE WHEN c.window_start = used.window_start
                                         THEN c.reserved_mc ELSE 0 END
        FROM (SELECT cap_no, window_start, sum(mc) AS mc FROM note GROUP BY 1, 2) AS used
        WHERE c.account_no = a.account_no AND c.cap_no = used.cap_no)
    INSERT INTO reservations
    SELECT a.account_no, key, attempt, fingerprint, mc, v_now, v_now + p_ttl,
        coalesce(grants, '{}'), coalesce(parts, '{}'), coalesce(caps, '{}'),
        coalesce(windows, '{}'), dimensions
    FROM call LEFT JOIN sliced USING (n) LEFT JOIN noted USING (n);
    RETURN QUERY SELECT 'reserved', v_available - v_total, v_now FROM generate_series(1, v_count);
END $$;

CREATE FUNCTION settle_many(
    p_account_id text, p_keys bytea[], p_attempts text[], p_costs_mc bigint[],
    p_reserved_at timestamptz[], p_fingerprints text[], p_dimensions text[], p_tokens text[],
    p_rate_card text, p_flags text, p_outcomes bytea[])
RETURNS TABLE (answer text, charged_mc bigint, overage_mc bigint, available_mc bigint)
LANGUAGE plpgsql AS $$
DECLARE
    a record;
    v_now timestamptz;
    v_count integer := cardinality(p_keys);
    v_places tid[];
    v_available bigint;
    v_left bigint;
BEGIN
    SELECT account_no, top_mc, fired, seq, chain INTO a FROM accounts
    WHERE account_id = p_account_id FOR NO KEY UPDATE;
    v_now := clock_timestamp();

    SELECT array_agg(found.place) INTO v_places
    FROM unnest(p_keys, p_attempts, p_costs_mc, p_fingerprints) AS call (key, attempt, cost, fp)
    CROSS JOIN LATERAL (
        SELECT r.ctid AS place FROM reservations r
        WHERE r.account_no = a.account_no AND r.execution_key = call.key
            AND r.attempt = call.attempt AND r.fingerprint = call.fp
            AND r.amount_mc >= call.cost AND (r.deadline > v_now) IS TRUE
        LIMIT 1) AS found;
    IF v_count <> (SELECT count(DISTINCT place) FROM unnest(v_places) AS place)
    THEN
        RETURN QUERY SELECT one.* FROM
            unnest(p_keys, p_attempts, p_costs_mc, p_reserved_at, p_fingerprints, p_dimensions,
                   p_tokens, p_outcomes)
                AS call (key, attempt, cost, since, fp, dimensions, tokens, outcome)
            CROSS JOIN LATERAL settle(p_account_id, call.key, call.attempt, call.cost, call.since,
                call.fp, string_to_array(call.dimensions, E'\t'), call.tokens, p_rate_card,
                p_flags, call.outcome) AS one;
        RETURN;
    END IF;

    WITH call AS MATERIALIZED (
        SELECT * FROM unnest(p_keys, p_attempts, p_costs_mc, p_reserved_at, p_fingerprints,
                             p_dimensions, p_tokens, p_outcomes)
            WITH ORDINALITY AS call (key, attempt, cost, since, fp, joined, tokens, outcome, n)),
    gone AS (
        DELETE FROM reservations WHERE ctid = ANY (v_places)
        RETURNING execution_key AS key, amount_mc, slice_grants, slice_mc, cap_nos, cap_windows),
    ended AS MATERIALIZED (SELECT * FROM call JOIN gone USING (key)),
    slice AS MATERIALIZED (
        SELECT n, grant_no, mc, greatest(0, least(mc, cost + mc - sum(mc)
            OVER (PARTITION BY n ORDER BY i)))::bigint AS paid
        FROM ended CROSS JOIN LATERAL unnest(slice_grants, slice_mc)
            WITH ORDINALITY AS s (grant_no, mc, i)),
    moved AS (
        UPDATE grants g SET reserved_mc = g.reserved_mc - part.mc,
            charged_mc = g.charged_mc + part.paid,
            available_mc = g.available_mc
                + CASE WHEN expires_at > v_now THEN part.mc - part.paid ELSE 0 END,
            expired_mc = g.expired_mc
                + CASE WHEN expires_at > v_now THEN 0 ELSE part.mc - part.paid END
        FROM (SELECT grant_no, sum(mc) AS mc, sum(paid) AS paid FROM slice GROUP BY 1) AS part
        WHERE g.account_no = a.account_no AND g.grant_no = part.grant_no),
    counted AS (
        UPDATE caps c SET reserved_mc = c.reserved_mc - used.mc,
            charged_mc = c.charged_mc + used.cost
        FROM (SELECT cap_no, window_start, sum(amount_mc) AS mc, sum(cost) AS cost
              FROM ended CROSS JOIN LATERAL unnest(cap_nos, cap_windows) AS s (cap_no, window_start)
              GROUP BY 1, 2) AS used
        WHERE c.account_no = a.account_no AND c.cap_no = used.cap_no
            AND c.window_start = used.window_start),
    posted AS (
        SELECT n, string_agg(format('g%s:rc:%s,ra:%s', grant_no, paid, mc - paid), ' ') AS postings
        FROM slice GROUP BY n),
    entry AS MATERIALIZED (
        SELECT n, key, since, coalesce(postings, '') AS postings, dimensions, tokens,
            chain_of(a.chain, concat_ws(E'\t', 'settled', v_now, key, postings, since, joined,
                tokens, p_rate_card, p_flags)) OVER (ORDER BY n) AS chain
        FROM call LEFT JOIN posted USING (n)
        CROSS JOIN LATERAL string_to_array(joined, E'\t') AS dimensions),
    written AS (
        INSERT INTO journal
        SELECT a.account_no, a.seq + n, 'settled', v_now, key, since, postings, dimensions, tokens,
            p_rate_card, p_flags, 0, chain FROM entry),
    advanced AS (
        UPDATE accounts SET seq = seq + v_count,
            chain = (SELECT chain FROM entry WHERE n = v_count)
        WHERE account_no = a.account_no)
    INSERT INTO outcomes
    SELECT a.account_no, key, 'settled', attempt, fp, cost, 0, v_now + interval '7 days', outcome
    FROM call;

    SELECT sum(g.available_mc), sum(g.available_mc + g.reserved_mc) INTO v_available, v_left
    FROM grants g WHERE account_no = a.account_no AND expires_at > v_now;
    IF v_left <= a.top_mc / 5 AND NOT a.fired THEN
        INSERT INTO alerts (account_no, at, threshold_mc, left_mc)
        VALUES (a.account_no, v_now, a.top_mc / 5, v_left);
        UPDATE accounts SET fired = true WHERE account_no = a.account_no;
    END IF;
    RETURN QUERY SELECT 'settled', cost, 0::bigint, v_available FROM unnest(p_costs_mc) AS cost;
END $$;
