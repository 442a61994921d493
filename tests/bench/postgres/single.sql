-- One call, one execution. Each verb locks the account's row first, so that no two of them meet,
-- and reads the clock once it holds it. "(...) IS TRUE" keeps the planner on the primary key.

CREATE FUNCTION reserve(
    p_account_id text, p_key bytea, p_attempt text, p_amount_mc bigint, p_ttl interval,
    p_fingerprint text, p_dimensions text[],
    OUT answer text, OUT available_mc bigint, OUT reserved_at timestamptz)
LANGUAGE plpgsql AS $$
DECLARE
    a record;
    k record;
    g record;
    v_now timestamptz;
    v_due boolean;
    v_missing bigint := p_amount_mc;
    v_home bigint := 0;
    v_grants integer[] := '{}';
    v_parts bigint[] := '{}';
    v_caps integer[];
    v_windows timestamptz[];
BEGIN
    SELECT account_no, state, eligible INTO a FROM accounts
    WHERE account_id = p_account_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN answer := 'account_unknown'; RETURN; END IF;
    v_now := clock_timestamp();

    -- Seen before?
    SELECT o.fingerprint AS outcome_of, r.fingerprint AS open_of, r.attempt, r.reserved_at,
        EXISTS (SELECT FROM reservations WHERE account_no = a.account_no AND deadline <= v_now)
            AS due
    INTO k FROM (SELECT) AS one
    LEFT JOIN outcomes o ON o.account_no = a.account_no AND o.execution_key = p_key
    LEFT JOIN reservations r ON r.account_no = a.account_no AND r.execution_key = p_key
        AND (r.deadline > v_now) IS TRUE;
    IF coalesce(k.outcome_of, k.open_of, p_fingerprint) <> p_fingerprint THEN
        answer := 'conflict'; RETURN;
    ELSIF k.outcome_of IS NOT NULL THEN
        answer := 'existing'; RETURN;
    ELSIF k.open_of IS NOT NULL THEN
        answer := CASE WHEN k.attempt = p_attempt THEN 'reserved' ELSE 'in_progress' END;
        reserved_at := k.reserved_at;
        RETURN;
    END IF;
    IF a.state <> 'open' THEN answer := 'account_closed'; RETURN; END IF;
    IF NOT a.eligible THEN answer := 'plan_not_eligible'; RETURN; END IF;
    IF k.due THEN PERFORM expire_due(a.account_no, v_now); END IF;

    -- Caps
    PERFORM FROM caps c WHERE c.account_no = a.account_no AND matches(c, p_dimensions)
        AND p_amount_mc > 0 AND p_amount_mc > c.limit_mc
            - CASE WHEN c.window_start = window_of(c.cap_window, v_now)
                   THEN c.charged_mc + c.reserved_mc ELSE 0 END;
    IF FOUND THEN answer := 'cap_reached'; RETURN; END IF;

    -- Credits, in burn order
    available_mc := -p_amount_mc;
    FOR g IN SELECT grant_no, gr.available_mc, gr.reserved_mc FROM grants gr
             WHERE account_no = a.account_no AND expires_at > v_now
                AND gr.available_mc + gr.reserved_mc > 0
             ORDER BY priority, expires_at, created_at, grant_no LOOP
        available_mc := available_mc + g.available_mc;
        v_home := v_home + g.reserved_mc;
        IF v_missing > 0 AND g.available_mc > 0 THEN
            v_grants := v_grants || g.grant_no;
            v_parts := v_parts || least(v_missing, g.available_mc);
            v_missing := v_missing - least(v_missing, g.available_mc);
        END IF;
    END LOOP;
    IF v_missing > 0 THEN
        available_mc := available_mc + p_amount_mc;
        answer := CASE WHEN v_missing <= v_home THEN 'credits_reserved_elsewhere'
                       WHEN available_mc + v_home > 0 THEN 'execution_too_large'
                       ELSE 'insufficient_credits' END;
        RETURN;
    END IF;

    FOR i IN 1 .. cardinality(v_grants) LOOP
        UPDATE grants gr SET available_mc = gr.available_mc - v_parts[i],
            reserved_mc = gr.reserved_mc + v_parts[i]
        WHERE account_no = a.account_no AND grant_no = v_grants[i];
    END LOOP;
    WITH noted AS (
        UPDATE caps c SET window_start = window_of(c.cap_window, v_now),
            charged_mc = CASE WHEN c.window_start = window_of(c.cap_window, v_now)
                              THEN c.charged_mc ELSE 0 END,
            reserved_mc = p_amount_mc + CASE WHEN c.window_start = window_of(c.cap_window, v_now)
                                             THEN c.reserved_mc ELSE 0 END
        WHERE c.account_no = a.account_no AND matches(c, p_dimensions)
        RETURNING cap_no, window_start)
    SELECT coalesce(array_agg(cap_no), '{}'), coalesce(array_agg(window_start), '{}')
    INTO v_caps, v_windows FROM noted;
    INSERT INTO reservations VALUES (a.account_no, p_key, p_attempt, p_fingerprint, p_amount_mc,
        v_now, v_now + p_ttl, v_grants, v_parts, v_caps, v_windows, p_dimensions);
    answer := 'reserved';
    reserved_at := v_now;
END $$;

-- Settlements of open reservations, of expired ones (late) and of unknown ones (orphan).
CREATE FUNCTION settle(
    p_account_id text, p_key bytea, p_attempt text, p_cost_mc bigint, p_reserved_at timestamptz,
    p_fingerprint text, p_dimensions text[], p_tokens text, p_rate_card text, p_flags text,
    p_outcome bytea,
    OUT answer text, OUT charged_mc bigint, OUT overage_mc bigint, OUT available_mc bigint)
LANGUAGE plpgsql AS $$
DECLARE
    a record;
    o record;
    r reservations;
    g record;
    v_now timestamptz;
    v_unpaid bigint := p_cost_mc;
    v_paid bigint;
    v_home bigint;
    v_postings text := '';
    v_flags text := p_flags;
    v_left bigint;
BEGIN
    SELECT account_no, top_mc, fired INTO a FROM accounts
    WHERE account_id = p_account_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN answer := 'account_unknown'; RETURN; END IF;
    v_now := clock_timestamp();

    -- An id with an open reservation has no outcome.
    DELETE FROM reservations WHERE account_no = a.account_no AND execution_key = p_key
        AND attempt = p_attempt AND fingerprint = p_fingerprint
        AND (deadline > v_now) IS TRUE
    RETURNING * INTO r;
    IF NOT FOUND THEN
        SELECT * INTO o FROM outcomes WHERE account_no = a.account_no AND execution_key = p_key;
        IF FOUND THEN
            answer := CASE WHEN o.fingerprint <> p_fingerprint THEN 'conflict'
                           WHEN o.attempt = p_attempt THEN 'settled' ELSE 'existing' END;
            charged_mc := o.charged_mc;
            overage_mc := o.overage_mc;
            RETURN;
        END IF;
        PERFORM expire_due(a.account_no, v_now);
        v_flags := concat_ws(',', nullif(v_flags, ''), 'orphan');
    END IF;

    -- Its own slices pay first, and the rest of them goes home.
    FOR i IN 1 .. coalesce(cardinality(r.slice_grants), 0) LOOP
        v_paid := least(v_unpaid, r.slice_mc[i]);
        v_home := r.slice_mc[i] - v_paid;
        v_unpaid := v_unpaid - v_paid;
        UPDATE grants gr SET reserved_mc = gr.reserved_mc - v_paid - v_home,
            charged_mc = gr.charged_mc + v_paid,
            available_mc = gr.available_mc + CASE WHEN expires_at > v_now THEN v_home ELSE 0 END,
            expired_mc = gr.expired_mc + CASE WHEN expires_at > v_now THEN 0 ELSE v_home END
        WHERE account_no = a.account_no AND grant_no = r.slice_grants[i];
        v_postings := v_postings || format('g%s:rc:%s,ra:%s ', r.slice_grants[i], v_paid, v_home);
    END LOOP;
    IF v_unpaid > 0 THEN
        FOR g IN SELECT grant_no, gr.available_mc FROM grants gr
                 WHERE account_no = a.account_no AND expires_at > v_now AND gr.available_mc > 0
                 ORDER BY priority, expires_at, created_at, grant_no LOOP
            EXIT WHEN v_unpaid = 0;
            v_paid := least(v_unpaid, g.available_mc);
            v_unpaid := v_unpaid - v_paid;
            UPDATE grants gr SET available_mc = gr.available_mc - v_paid,
                charged_mc = gr.charged_mc + v_paid
            WHERE account_no = a.account_no AND grant_no = g.grant_no;
            v_postings := v_postings || format('g%s:ac:%s ', g.grant_no, v_paid);
        END LOOP;
    END IF;
    overage_mc := v_unpaid;
    charged_mc := p_cost_mc - v_unpaid;

    UPDATE caps c SET reserved_mc = c.reserved_mc - r.amount_mc,
        charged_mc = c.charged_mc + p_cost_mc - v_unpaid
    FROM unnest(r.cap_nos, r.cap_windows) AS n (cap_no, window_start)
    WHERE c.account_no = a.account_no AND c.cap_no = n.cap_no AND c.window_start = n.window_start;

    -- The low mark: a fifth of what the last grant left.
    SELECT sum(gr.available_mc), sum(gr.available_mc + gr.reserved_mc)
    INTO available_mc, v_left FROM grants gr
    WHERE account_no = a.account_no AND expires_at > v_now;
    IF v_left <= a.top_mc / 5 AND NOT a.fired THEN
        INSERT INTO alerts (account_no, at, threshold_mc, left_mc)
        VALUES (a.account_no, v_now, a.top_mc / 5, v_left);
        a.fired := true;
    END IF;

    WITH next AS (
        UPDATE accounts ac SET seq = seq + 1, fired = a.fired,
            overage_mc = ac.overage_mc + v_unpaid,
            chain = chained(NULL, chain, concat_ws(E'\t', 'settled', v_now, p_key, v_postings,
                p_reserved_at, p_dimensions, p_tokens, p_rate_card, v_flags, v_unpaid))
        WHERE account_no = a.account_no RETURNING seq, chain),
    kept AS (
        INSERT INTO outcomes VALUES (a.account_no, p_key, 'settled', p_attempt, p_fingerprint,
            p_cost_mc - v_unpaid, v_unpaid, v_now + interval '7 days', p_outcome))
    INSERT INTO journal
    SELECT a.account_no, seq, 'settled', v_now, p_key, p_reserved_at, v_postings, p_dimensions,
        p_tokens, p_rate_card, v_flags, v_unpaid, chain FROM next;
    answer := 'settled';
END $$;
