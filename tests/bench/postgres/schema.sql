-- The ledger in PostgreSQL. A balance is the sum of its grants, so that the account's row needs no
-- writing to reserve; the row is what callers queue at. Rows that change all the time have room on
-- their page for the next version (HOT). Amounts are whole millicredits.

CREATE TABLE accounts (
    account_no   integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id   text NOT NULL UNIQUE,
    state        text NOT NULL DEFAULT 'open',
    plan         text NOT NULL,
    eligible     boolean NOT NULL,
    top_mc       bigint NOT NULL DEFAULT 0,   -- what the last grant left
    fired        boolean NOT NULL DEFAULT false,
    overage_mc   bigint NOT NULL DEFAULT 0,
    seq          bigint NOT NULL DEFAULT 0,
    chain        bytea NOT NULL DEFAULT ''
) WITH (fillfactor = 20);

CREATE TABLE grants (
    account_no   integer NOT NULL REFERENCES accounts,
    grant_no     integer NOT NULL,
    kind         text NOT NULL,
    reference    text NOT NULL,
    priority     integer NOT NULL,
    expires_at   timestamptz NOT NULL DEFAULT 'infinity',
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    amount_mc    bigint NOT NULL,
    available_mc bigint NOT NULL CHECK (available_mc >= 0),
    reserved_mc  bigint NOT NULL DEFAULT 0 CHECK (reserved_mc >= 0),
    charged_mc   bigint NOT NULL DEFAULT 0,
    expired_mc   bigint NOT NULL DEFAULT 0,
    voided_mc    bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (account_no, grant_no),
    UNIQUE (account_no, reference),
    CHECK (amount_mc = available_mc + reserved_mc + charged_mc + expired_mc + voided_mc)
) WITH (fillfactor = 20);

-- window_start is the window that the counters are of; null columns match everything.
CREATE TABLE caps (
    account_no   integer NOT NULL REFERENCES accounts,
    cap_no       integer NOT NULL,
    cap_window   text NOT NULL,               -- day, month, total
    workspace_id text,
    campaign_id  text,
    action       text,
    source       text,
    limit_mc     bigint NOT NULL,
    window_start timestamptz NOT NULL DEFAULT '-infinity',
    charged_mc   bigint NOT NULL DEFAULT 0,
    reserved_mc  bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (account_no, cap_no)
) WITH (fillfactor = 20);

-- Open reservations; slices and noted caps are pairs of arrays, so that no second table is written.
CREATE TABLE reservations (
    account_no    integer NOT NULL,
    execution_key bytea NOT NULL,
    attempt       text NOT NULL,
    fingerprint   text NOT NULL,
    amount_mc     bigint NOT NULL,
    reserved_at   timestamptz NOT NULL,
    deadline      timestamptz NOT NULL,
    slice_grants  integer[] NOT NULL,
    slice_mc      bigint[] NOT NULL,
    cap_nos       integer[] NOT NULL,
    cap_windows   timestamptz[] NOT NULL,
    dimensions    text[] NOT NULL,
    PRIMARY KEY (account_no, execution_key)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
CREATE INDEX reservations_due ON reservations (deadline, account_no);

CREATE TABLE outcomes (
    account_no    integer NOT NULL,
    execution_key bytea NOT NULL,
    state         text NOT NULL,
    attempt       text NOT NULL,
    fingerprint   text NOT NULL,
    charged_mc    bigint NOT NULL,
    overage_mc    bigint NOT NULL,
    expires_at    timestamptz NOT NULL,
    outcome       bytea NOT NULL,
    PRIMARY KEY (account_no, execution_key)
);

CREATE TABLE journal (
    account_no    integer NOT NULL,
    seq           bigint NOT NULL,
    kind          text NOT NULL,
    at            timestamptz NOT NULL,
    execution_key bytea,
    reserved_at   timestamptz,
    postings      text NOT NULL,
    dimensions    text[],
    tokens        text,
    rate_card     text,
    flags         text,
    overage_mc    bigint NOT NULL DEFAULT 0,
    chain         bytea NOT NULL,
    PRIMARY KEY (account_no, seq)
);

CREATE TABLE alerts (
    alert_no     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_no   integer NOT NULL,
    at           timestamptz NOT NULL,
    threshold_mc bigint NOT NULL,
    left_mc      bigint NOT NULL
);

-- The hash that each journal entry has over the one before it and its own body.
CREATE FUNCTION chained(so_far bytea, first bytea, body text) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN sha256(coalesce(so_far, first) || convert_to(body, 'UTF8'));
END $$;
CREATE AGGREGATE chain_of(bytea, text) (sfunc = chained, stype = bytea);

-- Ends what is due: rarely anything, so every verb looks for it first and calls this if there is.
CREATE FUNCTION expire_due(p_account_no integer, p_now timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    r reservations;
    v_postings text;
BEGIN
    FOR r IN DELETE FROM reservations WHERE account_no = p_account_no AND deadline <= p_now
             RETURNING * LOOP
        UPDATE grants g SET reserved_mc = g.reserved_mc - s.mc,
            available_mc = g.available_mc + CASE WHEN g.expires_at > r.deadline THEN s.mc ELSE 0 END,
            expired_mc = g.expired_mc + CASE WHEN g.expires_at > r.deadline THEN 0 ELSE s.mc END
        FROM unnest(r.slice_grants, r.slice_mc) AS s (grant_no, mc)
        WHERE g.account_no = p_account_no AND g.grant_no = s.grant_no;
        UPDATE caps c SET reserved_mc = c.reserved_mc - r.amount_mc
        FROM unnest(r.cap_nos, r.cap_windows) AS n (cap_no, window_start)
        WHERE c.account_no = p_account_no AND c.cap_no = n.cap_no
            AND c.window_start = n.window_start;
        v_postings := (SELECT string_agg(format('g%s:r:%s', grant_no, mc), ',')
                       FROM unnest(r.slice_grants, r.slice_mc) AS s (grant_no, mc));
        WITH next AS (
            UPDATE accounts SET seq = seq + 1,
                chain = chained(NULL, chain, concat_ws(E'\t', 'expired', p_now, v_postings))
            WHERE account_no = p_account_no RETURNING seq, chain)
        INSERT INTO journal (account_no, seq, kind, at, execution_key, reserved_at, postings,
                             dimensions, chain)
        SELECT p_account_no, seq, 'expired', p_now, r.execution_key, r.reserved_at, v_postings,
            r.dimensions, chain FROM next;
    END LOOP;
    UPDATE grants SET expired_mc = expired_mc + available_mc, available_mc = 0
    WHERE account_no = p_account_no AND available_mc > 0 AND expires_at <= p_now;
END $$;

-- Inlined into the statements that use them.
CREATE FUNCTION window_of(cap_window text, now timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT CASE cap_window WHEN 'day' THEN date_trunc('day', now, 'UTC')
                           WHEN 'month' THEN date_trunc('month', now, 'UTC')
                           ELSE '-infinity' END
$$;
CREATE FUNCTION matches(c caps, dimensions text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(c.workspace_id = dimensions[1], true)
        AND coalesce(c.campaign_id = dimensions[2], true)
        AND coalesce(c.action = dimensions[3], true)
        AND coalesce(c.source = dimensions[6], true)
$$;
