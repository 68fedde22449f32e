-- The tables of a new file. Times are UTC seconds. `seq` columns keep the order in which rows were written, since clocks
-- can step back. Numbers of what the trainer makes are AUTOINCREMENT, so that a deleted run's number, which is in an
-- adapter's name, is never given out again.

PRAGMA application_id = 0x53484E44;  -- "SHND": tells a store from any other SQLite file

CREATE TABLE assistants (
    id TEXT PRIMARY KEY CHECK (id <> ''),
    name TEXT NOT NULL,
    scorer TEXT NOT NULL,
    starters TEXT NOT NULL,  -- JSON list of text
    created_at REAL NOT NULL,
    found INTEGER NOT NULL DEFAULT 0 CHECK (found IN (0, 1, 2))  -- 1: a prompt from the API that nobody has adopted, 2: a form of one
) STRICT;

CREATE TABLE prompts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    assistant_id TEXT NOT NULL REFERENCES assistants (id),
    version INTEGER NOT NULL CHECK (version > 0),
    segments TEXT NOT NULL,  -- JSON list of segments
    created_at REAL NOT NULL,
    UNIQUE (assistant_id, version)
) STRICT;

-- Training ------------------------------------------------------------------------------------------------------------

CREATE TABLE datasets (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    assistant_id TEXT NOT NULL REFERENCES assistants (id),
    prompt_id INTEGER NOT NULL REFERENCES prompts (id),
    hash TEXT NOT NULL,
    dropped TEXT NOT NULL,  -- JSON object: rule -> count
    created_at REAL NOT NULL
) STRICT;
CREATE INDEX datasets_of_assistant ON datasets (assistant_id, id);

-- Copies without foreign keys: a dataset outlives the conversations that its examples came from.
CREATE TABLE dataset_examples (
    dataset_id INTEGER NOT NULL REFERENCES datasets (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    conversation_id TEXT NOT NULL,
    context TEXT NOT NULL,  -- JSON list of [role, text]
    completion TEXT NOT NULL,
    corrected INTEGER NOT NULL CHECK (corrected IN (0, 1)),
    split TEXT NOT NULL CHECK (split IN ('train', 'dev', 'gate')),
    rater TEXT NOT NULL,
    approved INTEGER NOT NULL CHECK (approved IN (0, 1)),
    PRIMARY KEY (dataset_id, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX examples_of_conversation ON dataset_examples (conversation_id);

-- Without a foreign key: what was once gate stays gate, also when the conversation is deleted and imported again.
CREATE TABLE splits (
    conversation_id TEXT PRIMARY KEY,
    split TEXT NOT NULL CHECK (split IN ('train', 'dev', 'gate')),
    at REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE redaction_rules (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    assistant_id TEXT NOT NULL REFERENCES assistants (id),
    action TEXT NOT NULL CHECK (action IN ('replace', 'keep')),
    kind TEXT NOT NULL CHECK ((kind <> '') = (action = 'replace')),
    pattern TEXT NOT NULL CHECK (pattern <> ''),
    literal INTEGER NOT NULL CHECK (literal IN (0, 1)),  -- 1: a text as it stands; 0: a regular expression
    added_by TEXT NOT NULL,
    created_at REAL NOT NULL,
    UNIQUE (assistant_id, action, kind, pattern, literal)
) STRICT;

-- `adapter` has no foreign key: a run records the name before the adapter is published.
CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    assistant_id TEXT NOT NULL REFERENCES assistants (id),
    status TEXT NOT NULL
        CHECK (status IN ('running', 'promoted', 'refused', 'not enough', 'failed', 'interrupted')),
    started_at REAL NOT NULL,
    finished_at REAL,
    settings TEXT NOT NULL,  -- JSON object
    trigger TEXT NOT NULL,
    dataset_id INTEGER REFERENCES datasets (id),
    adapter TEXT,
    message TEXT NOT NULL DEFAULT '',
    report TEXT NOT NULL DEFAULT '{}'  -- JSON object
) STRICT;
CREATE INDEX runs_of_assistant ON runs (assistant_id, id);
CREATE INDEX running_runs ON runs (id) WHERE status = 'running';

CREATE TABLE run_events (
    seq INTEGER PRIMARY KEY,
    run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    at REAL NOT NULL,
    phase TEXT NOT NULL,
    data TEXT NOT NULL  -- JSON object
) STRICT;
CREATE INDEX events_of_run ON run_events (run_id, seq);

CREATE TABLE training_requests (
    seq INTEGER PRIMARY KEY,
    assistant_id TEXT NOT NULL REFERENCES assistants (id),
    trigger TEXT NOT NULL,
    at REAL NOT NULL
) STRICT;

-- Whether an assistant is retrained without being asked, and the next such run: when it starts, and why.
CREATE TABLE automatic_retrains (
    assistant_id TEXT PRIMARY KEY REFERENCES assistants (id),
    allowed INTEGER NOT NULL DEFAULT 1 CHECK (allowed IN (0, 1)),
    starts_at REAL,
    reason TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;

-- By position in the run's dataset, which has the question as it was asked; the message takes its answers with it.
CREATE TABLE gate_answers (
    run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    system TEXT NOT NULL,
    position INTEGER NOT NULL,
    message_id TEXT NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    text TEXT NOT NULL,
    score REAL NOT NULL CHECK (score BETWEEN 0 AND 1),
    PRIMARY KEY (run_id, system, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX gate_answers_of_message ON gate_answers (message_id);

-- What a larger model said to questions that nobody rated; asked once for all retrains.
CREATE TABLE teacher_answers (
    message_id TEXT PRIMARY KEY REFERENCES messages (id) ON DELETE CASCADE,
    asked TEXT NOT NULL,  -- SHA-256 of the model and of all that it was sent
    text TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE judgement_requests (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    assistant_id TEXT NOT NULL REFERENCES assistants (id),
    run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    message_id TEXT NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    text TEXT NOT NULL,
    created_at REAL NOT NULL,
    accepted INTEGER CHECK (accepted IN (0, 1)),  -- NULL until a person has decided
    decided_by TEXT NOT NULL DEFAULT '',
    decided_at REAL CHECK ((decided_at IS NULL) = (accepted IS NULL)),
    UNIQUE (message_id, text)
) STRICT;
CREATE INDEX judgement_requests_of_run ON judgement_requests (run_id);
CREATE INDEX judgement_requests_open ON judgement_requests (assistant_id, id) WHERE accepted IS NULL;
CREATE INDEX judgement_requests_decided ON judgement_requests (assistant_id, id) WHERE accepted IS NOT NULL;

-- Deployments ---------------------------------------------------------------------------------------------------------

CREATE TABLE adapters (
    name TEXT PRIMARY KEY CHECK (name <> ''),
    assistant_id TEXT NOT NULL REFERENCES assistants (id),
    run_id INTEGER NOT NULL REFERENCES runs (id),
    path TEXT NOT NULL,
    manifest_hash TEXT NOT NULL,
    created_at REAL NOT NULL
) STRICT;
CREATE INDEX adapters_of_assistant ON adapters (assistant_id, created_at);

CREATE TABLE deployments (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    assistant_id TEXT NOT NULL REFERENCES assistants (id),
    prompt_id INTEGER NOT NULL REFERENCES prompts (id),
    adapter TEXT,  -- NULL is the base model
    segment_ids TEXT NOT NULL,  -- JSON list
    variant INTEGER NOT NULL CHECK (variant >= 0),
    prompt_tokens INTEGER NOT NULL CHECK (prompt_tokens >= 0),
    status TEXT NOT NULL CHECK (status IN ('candidate', 'active', 'retired', 'rejected')),
    created_at REAL NOT NULL,
    run_id INTEGER REFERENCES runs (id),
    activated_at REAL,
    reason TEXT NOT NULL DEFAULT '',
    previous_id INTEGER REFERENCES deployments (id),  -- what it replaced when it was first active
    demonstrations INTEGER NOT NULL DEFAULT 0,  -- how many it sends along
    copy_at REAL  -- the least likeness at which an approved answer is given again; NULL where none is
) STRICT;
CREATE INDEX deployments_of_assistant ON deployments (assistant_id, id);
CREATE INDEX deployments_of_prompt ON deployments (prompt_id, variant);
CREATE UNIQUE INDEX one_active ON deployments (assistant_id) WHERE status = 'active';

CREATE TABLE activations (
    seq INTEGER PRIMARY KEY,
    deployment_id INTEGER NOT NULL REFERENCES deployments (id),
    at REAL NOT NULL,
    reason TEXT NOT NULL
) STRICT;
CREATE INDEX activations_of_deployment ON activations (deployment_id, seq);

-- Conversations -------------------------------------------------------------------------------------------------------

-- The two-column keys hold a parent and a head inside their own conversation. They are deferred because deleting a
-- conversation removes its messages in any order; a cascade along parent_id would also fail past 1,000 turns.
CREATE TABLE conversations (
    id TEXT PRIMARY KEY CHECK (id <> ''),
    assistant_id TEXT NOT NULL REFERENCES assistants (id),
    title TEXT NOT NULL,
    owner TEXT NOT NULL,
    source TEXT NOT NULL CHECK (source IN ('chat', 'import', 'tools')),
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    head_id TEXT,
    FOREIGN KEY (id, head_id) REFERENCES messages (conversation_id, id) DEFERRABLE INITIALLY DEFERRED
) STRICT;
-- The whole order of the list, since an import dates thousands of conversations alike, and what it is filtered by.
CREATE INDEX conversations_newest ON conversations (assistant_id, updated_at, created_at, id);
CREATE INDEX conversations_of_owner ON conversations (assistant_id, owner, updated_at, created_at, id, source);

CREATE TABLE messages (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE CHECK (id <> ''),
    conversation_id TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    parent_id TEXT,
    role TEXT NOT NULL CHECK (role IN ('user', 'assistant')),
    text TEXT NOT NULL,
    created_at REAL NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('streaming', 'complete', 'stopped', 'failed')),
    deployment_id INTEGER REFERENCES deployments (id),
    prompt_tokens INTEGER,
    prompt_part_tokens INTEGER,
    cached_tokens INTEGER,
    completion_tokens INTEGER,
    first_token_s REAL,
    total_s REAL,
    mean_ln_p REAL,  -- mean log-probability of a token of the answer; NULL of servers that do not say
    left_out_turns INTEGER,  -- of the conversation, which did not fit into the request
    demonstration_tokens INTEGER DEFAULT 0,
    demonstrations TEXT DEFAULT '[]',  -- JSON list of the messages whose approved answers were sent along
    finish_reason TEXT,  -- the server's or the file's word
    turns_hash TEXT,  -- of a question from the API: which turns it ends
    metadata TEXT,  -- of a question from the API: a JSON object of texts that the program keeps with it
    UNIQUE (conversation_id, id),
    FOREIGN KEY (conversation_id, parent_id) REFERENCES messages (conversation_id, id)
        DEFERRABLE INITIALLY DEFERRED
) STRICT;
CREATE INDEX messages_below ON messages (conversation_id, parent_id, role);
CREATE INDEX messages_streaming ON messages (deployment_id) WHERE status = 'streaming';
CREATE INDEX messages_failed ON messages (deployment_id, created_at) WHERE status = 'failed';
CREATE INDEX messages_asked_by_programs ON messages (seq) WHERE turns_hash IS NOT NULL;
CREATE INDEX messages_of_turns ON messages (turns_hash) WHERE turns_hash IS NOT NULL;
CREATE INDEX messages_measured ON messages (deployment_id, created_at) WHERE prompt_tokens IS NOT NULL;

CREATE TABLE ratings (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE CHECK (id <> ''),
    message_id TEXT NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    rater TEXT NOT NULL,
    verdict TEXT CHECK (verdict IN ('up', 'down')),  -- NULL takes an earlier verdict back
    reason TEXT NOT NULL,
    comment TEXT NOT NULL,
    correction TEXT,
    created_at REAL NOT NULL
) STRICT;
CREATE INDEX ratings_of_message ON ratings (message_id, rater, seq);
-- What reviewers look for is found newest first, without reading ratings of another kind.
CREATE INDEX ratings_of_verdict ON ratings (verdict, seq);
CREATE INDEX ratings_of_rater ON ratings (rater, seq);
CREATE INDEX ratings_with_reason ON ratings (reason, seq) WHERE reason <> '';
CREATE INDEX ratings_with_correction ON ratings (seq) WHERE correction IS NOT NULL;

-- Which answers are rated, and when last (by the number of the rating): the newest ones of 300,000 without sorting them,
-- and how many there are. Triggers keep it, whoever writes.
CREATE TABLE rated_answers (
    seq INTEGER PRIMARY KEY REFERENCES messages (seq) ON DELETE CASCADE,
    assistant_id TEXT NOT NULL,
    last_rating INTEGER NOT NULL
) STRICT;
CREATE INDEX rated_answers_newest ON rated_answers (assistant_id, last_rating);
CREATE TRIGGER rated_answers_insert AFTER INSERT ON ratings BEGIN
    INSERT INTO rated_answers
        SELECT m.seq, c.assistant_id, new.seq
        FROM messages m JOIN conversations c ON c.id = m.conversation_id WHERE m.id = new.message_id
        ON CONFLICT (seq) DO UPDATE SET last_rating = max(last_rating, excluded.last_rating);
END;
CREATE TRIGGER rated_answers_delete AFTER DELETE ON ratings BEGIN
    DELETE FROM rated_answers WHERE seq = (SELECT seq FROM messages WHERE id = old.message_id)
        AND NOT EXISTS (SELECT 1 FROM ratings WHERE message_id = old.message_id);
    UPDATE rated_answers SET last_rating = (SELECT max(seq) FROM ratings WHERE message_id = old.message_id)
        WHERE seq = (SELECT seq FROM messages WHERE id = old.message_id);
END;
CREATE TRIGGER rated_answers_update AFTER UPDATE OF seq ON ratings BEGIN
    UPDATE rated_answers SET last_rating = (SELECT max(seq) FROM ratings WHERE message_id = new.message_id)
        WHERE seq = (SELECT seq FROM messages WHERE id = new.message_id);
END;

-- Approved answers that may be put before a question, personal data replaced; a changed one gets a new `seq`.
CREATE TABLE demonstrations (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    assistant_id TEXT NOT NULL REFERENCES assistants (id),
    message_id TEXT NOT NULL UNIQUE REFERENCES messages (id) ON DELETE CASCADE,
    question TEXT NOT NULL,
    answer TEXT NOT NULL,
    added_at REAL NOT NULL,
    vector_model TEXT,
    vector BLOB,  -- float32, of the question by that model
    CHECK ((vector IS NULL) = (vector_model IS NULL))
) STRICT;
-- With the model, so that what has changed is seen without reading the vectors.
CREATE INDEX demonstrations_of_assistant ON demonstrations (assistant_id, seq, vector_model);

-- An approval has a correction where a rater's correction was approved, rather than the answer as given.
CREATE TABLE decisions (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE CHECK (id <> ''),
    message_id TEXT NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    reviewer TEXT NOT NULL,
    ruling TEXT NOT NULL CHECK (ruling IN ('approve', 'reject', 'correct')),
    correction TEXT CHECK (CASE ruling
        WHEN 'approve' THEN 1 WHEN 'correct' THEN correction IS NOT NULL ELSE correction IS NULL END),
    created_at REAL NOT NULL
) STRICT;
CREATE INDEX decisions_of_message ON decisions (message_id, reviewer, seq);
CREATE INDEX decisions_of_reviewer ON decisions (reviewer, created_at);

-- Search --------------------------------------------------------------------------------------------------------------

-- The words alone; the texts stay where they are. Triggers keep each index in step whoever writes, also a cascade: what
-- goes is taken out by its old text. An answer that streams is not in it, nor a rating without words. The views say what
-- is in it, for 'rebuild' and 'integrity-check'. Conversations have no number but their rowid; VACUUM keeps it, since
-- the table has indexes.
CREATE VIEW finished_messages AS SELECT seq, text FROM messages WHERE status <> 'streaming';
CREATE VIEW worded_ratings AS
    SELECT seq, comment, correction FROM ratings WHERE comment <> '' OR correction IS NOT NULL;
CREATE VIEW worded_decisions AS SELECT seq, correction FROM decisions WHERE correction IS NOT NULL;

CREATE VIRTUAL TABLE message_words USING fts5(text, content='finished_messages', content_rowid='seq',
    columnsize=0, tokenize='unicode61 remove_diacritics 2');
CREATE TRIGGER message_words_insert AFTER INSERT ON messages WHEN new.status <> 'streaming' BEGIN
    INSERT INTO message_words (rowid, text) SELECT new.seq, new.text;
END;
CREATE TRIGGER message_words_delete AFTER DELETE ON messages WHEN old.status <> 'streaming' BEGIN
    INSERT INTO message_words (message_words, rowid, text) SELECT 'delete', old.seq, old.text;
END;
CREATE TRIGGER message_words_update AFTER UPDATE OF seq, text, status ON messages BEGIN
    INSERT INTO message_words (message_words, rowid, text) SELECT 'delete', old.seq, old.text
        WHERE old.status <> 'streaming';
    INSERT INTO message_words (rowid, text) SELECT new.seq, new.text WHERE new.status <> 'streaming';
END;

CREATE VIRTUAL TABLE rating_words USING fts5(comment, correction, content='worded_ratings', content_rowid='seq',
    columnsize=0, tokenize='unicode61 remove_diacritics 2');
CREATE TRIGGER rating_words_insert AFTER INSERT ON ratings
    WHEN new.comment <> '' OR new.correction IS NOT NULL BEGIN
    INSERT INTO rating_words (rowid, comment, correction) SELECT new.seq, new.comment, new.correction;
END;
CREATE TRIGGER rating_words_delete AFTER DELETE ON ratings
    WHEN old.comment <> '' OR old.correction IS NOT NULL BEGIN
    INSERT INTO rating_words (rating_words, rowid, comment, correction)
        SELECT 'delete', old.seq, old.comment, old.correction;
END;
CREATE TRIGGER rating_words_update AFTER UPDATE OF seq, comment, correction ON ratings BEGIN
    INSERT INTO rating_words (rating_words, rowid, comment, correction)
        SELECT 'delete', old.seq, old.comment, old.correction
        WHERE old.comment <> '' OR old.correction IS NOT NULL;
    INSERT INTO rating_words (rowid, comment, correction) SELECT new.seq, new.comment, new.correction
        WHERE new.comment <> '' OR new.correction IS NOT NULL;
END;

CREATE VIRTUAL TABLE decision_words USING fts5(correction, content='worded_decisions', content_rowid='seq',
    columnsize=0, tokenize='unicode61 remove_diacritics 2');
CREATE TRIGGER decision_words_insert AFTER INSERT ON decisions WHEN new.correction IS NOT NULL BEGIN
    INSERT INTO decision_words (rowid, correction) SELECT new.seq, new.correction;
END;
CREATE TRIGGER decision_words_delete AFTER DELETE ON decisions WHEN old.correction IS NOT NULL BEGIN
    INSERT INTO decision_words (decision_words, rowid, correction) SELECT 'delete', old.seq, old.correction;
END;
CREATE TRIGGER decision_words_update AFTER UPDATE OF seq, correction ON decisions BEGIN
    INSERT INTO decision_words (decision_words, rowid, correction) SELECT 'delete', old.seq, old.correction
        WHERE old.correction IS NOT NULL;
    INSERT INTO decision_words (rowid, correction) SELECT new.seq, new.correction
        WHERE new.correction IS NOT NULL;
END;

CREATE VIRTUAL TABLE title_words USING fts5(title, content='conversations', content_rowid='rowid',
    columnsize=0, tokenize='unicode61 remove_diacritics 2');
CREATE TRIGGER title_words_insert AFTER INSERT ON conversations BEGIN
    INSERT INTO title_words (rowid, title) SELECT new.rowid, new.title;
END;
CREATE TRIGGER title_words_delete AFTER DELETE ON conversations BEGIN
    INSERT INTO title_words (title_words, rowid, title) SELECT 'delete', old.rowid, old.title;
END;
CREATE TRIGGER title_words_update AFTER UPDATE OF title ON conversations BEGIN
    INSERT INTO title_words (title_words, rowid, title) SELECT 'delete', old.rowid, old.title;
    INSERT INTO title_words (rowid, title) SELECT new.rowid, new.title;
END;

-- Accounts ------------------------------------------------------------------------------------------------------------

CREATE TABLE users (
    name TEXT PRIMARY KEY COLLATE NOCASE CHECK (name <> ''),
    role TEXT NOT NULL CHECK (role IN ('user', 'reviewer', 'admin')),
    password TEXT NOT NULL CHECK (password LIKE '$argon2id$%'),
    created_at REAL NOT NULL,
    changed_at REAL NOT NULL
) STRICT;

CREATE TABLE sessions (
    token_hash TEXT PRIMARY KEY CHECK (length(token_hash) = 64),
    user TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    expires_at REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_of_user ON sessions (user, expires_at);
CREATE INDEX sessions_by_end ON sessions (expires_at);

CREATE TABLE api_keys (
    name TEXT PRIMARY KEY COLLATE NOCASE CHECK (name <> ''),
    key_hash TEXT NOT NULL UNIQUE CHECK (length(key_hash) = 64),
    scopes TEXT NOT NULL,  -- JSON list
    per_minute INTEGER NOT NULL CHECK (per_minute > 0),
    created_at REAL NOT NULL,
    revoked_at REAL,
    user TEXT REFERENCES users (name) ON DELETE CASCADE  -- whose it is; NULL: an app's
) STRICT;

-- Of the fine-tuning routes.
CREATE TABLE api_files (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    created_at REAL NOT NULL,
    content BLOB NOT NULL
) STRICT;
CREATE TABLE api_jobs (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    assistant_id TEXT NOT NULL REFERENCES assistants (id),
    file_id TEXT NOT NULL,
    model TEXT NOT NULL,
    imported TEXT NOT NULL,
    created_at REAL NOT NULL,
    cancelled_at REAL,
    validation_file_id TEXT
) STRICT;

CREATE TABLE audit (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    actor TEXT NOT NULL CHECK (actor <> ''),
    action TEXT NOT NULL CHECK (action <> ''),
    subject TEXT NOT NULL,
    outcome TEXT NOT NULL CHECK (outcome IN ('done', 'failed', 'refused')),
    detail TEXT NOT NULL
) STRICT;
CREATE INDEX audit_of_actor ON audit (actor, seq);
CREATE INDEX audit_of_action ON audit (action, seq);
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN
    SELECT raise(ABORT, 'the audit log is never changed');
END;
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN
    SELECT raise(ABORT, 'the audit log is never changed');
END;
-- Against INSERT OR REPLACE, which deletes without asking the trigger before this one.
CREATE TRIGGER audit_no_replace BEFORE INSERT ON audit WHEN EXISTS (SELECT 1 FROM audit WHERE seq = new.seq) BEGIN
    SELECT raise(ABORT, 'the audit log is never changed');
END;
