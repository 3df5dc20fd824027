-- Accounts, what was credited to them, and what was asked of pay-service. Amounts are minor units.

CREATE TABLE accounts (
    account_no   text PRIMARY KEY,
    account_name text NOT NULL,
    currency     text NOT NULL,
    balance      bigint NOT NULL DEFAULT 0 CHECK (balance >= 0),
    created_at   timestamptz NOT NULL,
    UNIQUE (account_no, currency)
) WITH (fillfactor = 70); -- room for balances to be updated in their page

-- The primary key alone makes a tx_no credit at most once, and the foreign key alone keeps other
-- currencies out of an account. What was credited stays as it is.
CREATE TABLE credits (
    tx_no       uuid PRIMARY KEY,
    account_no  text NOT NULL,
    amount      bigint NOT NULL CHECK (amount BETWEEN 1 AND 1000000000000),
    currency    text NOT NULL,
    source      text NOT NULL
                CHECK (source IN ('webhook', 'queue', 'query', 'sweep', 'statement', 'exception')),
    event_id    text,
    credited_at timestamptz NOT NULL,
    FOREIGN KEY (account_no, currency) REFERENCES accounts (account_no, currency)
);
-- The condition, which always holds, keeps kept plans for a `tx_no` alone from walking this index.
CREATE INDEX credits_of_account ON credits (account_no, credited_at, tx_no) WHERE account_no IS NOT NULL;

CREATE TABLE requests (
    merchant_order_no uuid PRIMARY KEY,
    account_no        text NOT NULL REFERENCES accounts,
    amount            bigint NOT NULL CHECK (amount > 0),
    currency          text NOT NULL,
    channel           text NOT NULL,
    attach            text,
    tx_no             uuid UNIQUE,
    status            text NOT NULL CHECK (status IN ('unknown', 'pending', 'succeeded', 'failed', 'closed')),
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    -- The sweep: when pay-service is asked next or, under a lease, when the lease ends; NULL once there
    -- is nothing left to ask. How many steps of the ladder are spent; how many questions in a row were
    -- not answered; whose lease it is.
    ask_at            timestamptz,
    asks              bigint NOT NULL DEFAULT 0,
    misses            bigint NOT NULL DEFAULT 0,
    ask_token         uuid,
    CHECK ((status = 'unknown') = (tx_no IS NULL))
);
CREATE INDEX requests_to_ask ON requests (ask_at) WHERE ask_at IS NOT NULL;

-- A balance is the sum of its account's credits: whoever inserts credits moves it, in the same
-- statement, and nothing else does. A sum beyond 64 bits fails the insert.
-- Its plan is kept, and made so that it goes by the primary key, however small the table was then.
CREATE FUNCTION move_balances() RETURNS trigger LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    UPDATE accounts SET balance = accounts.balance + moved.amount
    FROM (SELECT account_no, sum(amount)::bigint AS amount FROM inserted GROUP BY account_no) AS moved
    WHERE accounts.account_no = moved.account_no;
    RETURN NULL;
END $$;

CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER credits_move_balances AFTER INSERT ON credits
    REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION move_balances();
CREATE TRIGGER credits_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON credits
    FOR EACH STATEMENT EXECUTE FUNCTION refuse('what was credited stays as it is');
CREATE TRIGGER balances_start_at_zero BEFORE INSERT ON accounts
    FOR EACH ROW WHEN (NEW.balance <> 0) EXECUTE FUNCTION refuse('a balance is the sum of its credits');
-- Depth 0 is a statement of somebody's own; from the trigger above it is 1.
CREATE TRIGGER balances_follow_credits BEFORE UPDATE OF balance ON accounts
    FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION refuse('a balance is the sum of its credits');
