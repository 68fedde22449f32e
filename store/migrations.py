"""An older or empty file → the tables that this version knows.

In: the open file. Out: the same file, upgraded in one transaction, or a StoreError when it is newer than the
code or another program's. Each migration is one small function that never changes once released and imports
no live code.

Numbers of people-made things are AUTOINCREMENT, so that a deleted run's number, which is in an adapter's
name, is never given out again. `seq` columns keep the order in which rows were written: clocks can step back.
"""

from __future__ import annotations

from sqlite_utils import Database, Migrations

from store.connection import DataFile
from store.errors import StoreError

_APPLICATION_ID = 0x53484E44  # "SHND": tells a store from any other SQLite file

migrations = Migrations("shorthand")


def upgrade(file: DataFile) -> None:
    """Apply what is missing; raise StoreError for a newer file or one that is no store."""
    with file.reading():
        if _is_current(file):
            return
    with file.writing():  # holds the write lock, so two processes cannot both upgrade
        if not _is_current(file):
            migrations.apply(_database(file))


def _database(file: DataFile) -> Database:
    return Database(file.connection(), execute_plugins=False)


def _is_current(file: DataFile) -> bool:
    db = _database(file)
    application_id = db.execute("PRAGMA application_id").fetchone()[0]
    if application_id != _APPLICATION_ID and db.table_names():
        raise StoreError(f"{file.path} is a SQLite file of another program. Choose another data directory.")
    # On an empty database every migration that this code has is pending.
    known = {migration.name for migration in migrations.pending(Database(memory=True, execute_plugins=False))}
    newer = [migration.name for migration in migrations.applied(db) if migration.name not in known]
    if newer:
        raise StoreError(
            f"{file.path} was written by a newer Shorthand (it has {', '.join(newer)}). "
            "Upgrade Shorthand, or open a backup from before."
        )
    return not migrations.pending(db)


@migrations()
def m001_assistants(db: Database) -> None:
    db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
    db.execute("""
        CREATE TABLE assistants (
            id TEXT PRIMARY KEY CHECK (id <> ''),
            name TEXT NOT NULL,
            scorer TEXT NOT NULL,
            starters TEXT NOT NULL,  -- JSON list of text
            created_at REAL NOT NULL
        ) STRICT""")
    db.execute("""
        CREATE TABLE prompts (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            assistant_id TEXT NOT NULL REFERENCES assistants (id),
            version INTEGER NOT NULL CHECK (version > 0),
            segments TEXT NOT NULL,  -- JSON list of segments
            created_at REAL NOT NULL,
            UNIQUE (assistant_id, version)
        ) STRICT""")


@migrations()
def m002_datasets(db: Database) -> None:
    # Examples are copies without foreign keys: a dataset outlives the conversations that it came from.
    db.execute("""
        CREATE TABLE datasets (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            assistant_id TEXT NOT NULL REFERENCES assistants (id),
            prompt_id INTEGER NOT NULL REFERENCES prompts (id),
            hash TEXT NOT NULL,
            dropped TEXT NOT NULL,  -- JSON object: rule -> count
            created_at REAL NOT NULL
        ) STRICT""")
    db.execute("CREATE INDEX datasets_of_assistant ON datasets (assistant_id, id)")
    db.execute("""
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
            PRIMARY KEY (dataset_id, position)
        ) STRICT, WITHOUT ROWID""")
    db.execute("CREATE INDEX examples_of_conversation ON dataset_examples (conversation_id)")


@migrations()
def m003_runs(db: Database) -> None:
    # runs.adapter has no foreign key: a run notes the name before the adapter is published.
    db.execute("""
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
        ) STRICT""")
    db.execute("CREATE INDEX runs_of_assistant ON runs (assistant_id, id)")
    db.execute("CREATE INDEX running_runs ON runs (id) WHERE status = 'running'")
    db.execute("""
        CREATE TABLE run_events (
            seq INTEGER PRIMARY KEY,
            run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
            at REAL NOT NULL,
            phase TEXT NOT NULL,
            data TEXT NOT NULL  -- JSON object
        ) STRICT""")
    db.execute("CREATE INDEX events_of_run ON run_events (run_id, seq)")
    db.execute("""
        CREATE TABLE training_requests (
            seq INTEGER PRIMARY KEY,
            assistant_id TEXT NOT NULL REFERENCES assistants (id),
            trigger TEXT NOT NULL,
            at REAL NOT NULL
        ) STRICT""")
    db.execute("""
        CREATE TABLE adapters (
            name TEXT PRIMARY KEY CHECK (name <> ''),
            assistant_id TEXT NOT NULL REFERENCES assistants (id),
            run_id INTEGER NOT NULL REFERENCES runs (id),
            path TEXT NOT NULL,
            manifest_hash TEXT NOT NULL,
            created_at REAL NOT NULL
        ) STRICT""")
    db.execute("CREATE INDEX adapters_of_assistant ON adapters (assistant_id, created_at)")


@migrations()
def m004_deployments(db: Database) -> None:
    db.execute("""
        CREATE TABLE deployments (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            assistant_id TEXT NOT NULL REFERENCES assistants (id),
            prompt_id INTEGER NOT NULL REFERENCES prompts (id),
            adapter TEXT,  -- NULL is the base model
            kept TEXT NOT NULL,  -- JSON list of segment ids
            variant INTEGER NOT NULL CHECK (variant >= 0),
            prompt_tokens INTEGER NOT NULL CHECK (prompt_tokens >= 0),
            status TEXT NOT NULL CHECK (status IN ('candidate', 'active', 'retired', 'rejected')),
            created_at REAL NOT NULL,
            run_id INTEGER REFERENCES runs (id),
            activated_at REAL,
            retired_at REAL,
            reason TEXT NOT NULL DEFAULT '',
            previous_id INTEGER REFERENCES deployments (id)  -- what it replaced when it was first active
        ) STRICT""")
    db.execute("CREATE INDEX deployments_of_assistant ON deployments (assistant_id, id)")
    db.execute("CREATE UNIQUE INDEX one_active ON deployments (assistant_id) WHERE status = 'active'")
    db.execute("""
        CREATE TABLE activations (
            seq INTEGER PRIMARY KEY,
            deployment_id INTEGER NOT NULL REFERENCES deployments (id),
            at REAL NOT NULL,
            reason TEXT NOT NULL
        ) STRICT""")
    db.execute("CREATE INDEX activations_of_deployment ON activations (deployment_id, seq)")


@migrations()
def m005_conversations(db: Database) -> None:
    # The two-column keys hold a parent and a head inside their own conversation. They are deferred because
    # deleting a conversation removes its messages in any order; a cascade along parent_id would also fail
    # past 1,000 turns.
    db.execute("""
        CREATE TABLE conversations (
            id TEXT PRIMARY KEY CHECK (id <> ''),
            assistant_id TEXT NOT NULL REFERENCES assistants (id),
            title TEXT NOT NULL,
            owner TEXT NOT NULL,
            source TEXT NOT NULL CHECK (source IN ('chat', 'sample', 'import')),
            created_at REAL NOT NULL,
            updated_at REAL NOT NULL,
            head_id TEXT,
            FOREIGN KEY (id, head_id) REFERENCES messages (conversation_id, id) DEFERRABLE INITIALLY DEFERRED
        ) STRICT""")
    db.execute("CREATE INDEX conversations_of_assistant ON conversations (assistant_id, updated_at)")
    db.execute("""
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
            UNIQUE (conversation_id, id),
            FOREIGN KEY (conversation_id, parent_id) REFERENCES messages (conversation_id, id)
                DEFERRABLE INITIALLY DEFERRED
        ) STRICT""")
    db.execute("CREATE INDEX messages_below ON messages (conversation_id, parent_id, role)")
    db.execute("CREATE INDEX messages_streaming ON messages (deployment_id) WHERE status = 'streaming'")
    db.execute("""
        CREATE INDEX messages_measured ON messages (deployment_id, created_at)
            WHERE prompt_tokens IS NOT NULL""")


@migrations()
def m006_ratings(db: Database) -> None:
    db.execute("""
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
        ) STRICT""")
    db.execute("CREATE INDEX ratings_of_message ON ratings (message_id, rater, seq)")


@migrations()
def m007_splits(db: Database) -> None:
    # No foreign key: what was once gate stays gate, also when the conversation is deleted and imported again.
    db.execute("""
        CREATE TABLE splits (
            conversation_id TEXT PRIMARY KEY,
            split TEXT NOT NULL CHECK (split IN ('train', 'dev', 'gate')),
            at REAL NOT NULL
        ) STRICT, WITHOUT ROWID""")


@migrations()
def m008_leases(db: Database) -> None:
    db.execute("""
        CREATE TABLE leases (
            name TEXT PRIMARY KEY,
            holder TEXT NOT NULL,
            expires_at REAL NOT NULL
        ) STRICT, WITHOUT ROWID""")


@migrations()
def m009_taught_examples(db: Database) -> None:
    flag = "INTEGER NOT NULL DEFAULT {} CHECK ({} IN (0, 1))"
    db.execute(f"ALTER TABLE dataset_examples ADD COLUMN approved {flag.format(1, 'approved')}")
    db.execute(f"ALTER TABLE dataset_examples ADD COLUMN taught {flag.format(0, 'taught')}")
    db.execute("CREATE INDEX deployments_of_prompt ON deployments (prompt_id, variant)")


@migrations()
def m010_privacy_rules(db: Database) -> None:
    db.execute("""
        CREATE TABLE privacy_rules (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            assistant_id TEXT NOT NULL REFERENCES assistants (id),
            action TEXT NOT NULL CHECK (action IN ('replace', 'keep')),
            kind TEXT NOT NULL CHECK ((kind <> '') = (action = 'replace')),
            pattern TEXT NOT NULL CHECK (pattern <> ''),
            literal INTEGER NOT NULL CHECK (literal IN (0, 1)),  -- 1: a text as it stands; 0: a regular expression
            added_by TEXT NOT NULL,
            created_at REAL NOT NULL,
            UNIQUE (assistant_id, action, kind, pattern, literal)
        ) STRICT""")


@migrations()
def m011_rejected_answers(db: Database) -> None:
    # NULL where nothing was corrected, and in datasets that were frozen before this was recorded.
    db.execute("ALTER TABLE dataset_examples ADD COLUMN rejected TEXT")


@migrations()
def m012_search(db: Database) -> None:
    # The words alone; the texts stay where they are. Triggers keep each index in step whoever writes, also a cascade.
    # An answer that streams is not in it, nor a rating without words, so neither path gets slower. The views say what
    # is in it, for 'rebuild' and 'integrity-check'. Conversations have no number but their rowid; VACUUM keeps it,
    # since the table has indexes.
    db.execute("CREATE VIEW finished_messages AS SELECT seq, text FROM messages WHERE status <> 'streaming'")
    db.execute("""
        CREATE VIEW worded_ratings AS
            SELECT seq, comment, correction FROM ratings WHERE comment <> '' OR correction IS NOT NULL""")
    words = "columnsize=0, tokenize='unicode61 remove_diacritics 2'"
    for name, columns, content, key in (
        ("message_words", "text", "finished_messages", "seq"),
        ("rating_words", "comment, correction", "worded_ratings", "seq"),
        ("title_words", "title", "conversations", "rowid"),
    ):
        db.execute(f"""
            CREATE VIRTUAL TABLE {name}
            USING fts5({columns}, content='{content}', content_rowid='{key}', {words})""")
        db.execute(f"INSERT INTO {name} ({name}) VALUES ('rebuild')")
    has_words = "({0}.comment <> '' OR {0}.correction IS NOT NULL)"
    _index_words(db, "message_words", "messages", "seq", ("text",), "{0}.status <> 'streaming'", ("status",))
    _index_words(db, "rating_words", "ratings", "seq", ("comment", "correction"), has_words)
    _index_words(db, "title_words", "conversations", "rowid", ("title",), "TRUE")


def _index_words(
    db: Database,
    index: str,
    table: str,
    key: str,
    columns: tuple[str, ...],
    condition: str,
    also: tuple[str, ...] = (),
) -> None:
    """Triggers of m012: what goes is taken out of the index by its old text, what comes goes in."""
    names = ", ".join(columns)
    old, new = (", ".join(f"{row}.{name}" for name in columns) for row in ("old", "new"))
    remove = f"INSERT INTO {index} ({index}, rowid, {names}) SELECT 'delete', old.{key}, {old}"
    add = f"INSERT INTO {index} (rowid, {names}) SELECT new.{key}, {new}"
    was, comes = condition.format("old"), condition.format("new")
    db.execute(f"CREATE TRIGGER {index}_come AFTER INSERT ON {table} WHEN {comes} BEGIN {add}; END")
    db.execute(f"CREATE TRIGGER {index}_go AFTER DELETE ON {table} WHEN {was} BEGIN {remove}; END")
    changing = ", ".join((*(() if key == "rowid" else (key,)), *columns, *also))
    db.execute(f"""
        CREATE TRIGGER {index}_change AFTER UPDATE OF {changing} ON {table}
        BEGIN {remove} WHERE {was}; {add} WHERE {comes}; END""")


@migrations()
def m013_newest_first(db: Database) -> None:
    # Which answers are rated, and when last (by the number of the rating): the newest ones of 300,000 without sorting
    # them, and how many there are. Triggers keep it, so that every way of writing does.
    db.execute("""
        CREATE TABLE rated_answers (
            seq INTEGER PRIMARY KEY REFERENCES messages (seq) ON DELETE CASCADE,
            assistant_id TEXT NOT NULL,
            last_rating INTEGER NOT NULL
        ) STRICT""")
    db.execute("""
        INSERT INTO rated_answers
            SELECT m.seq, c.assistant_id, max(r.seq)
            FROM ratings r JOIN messages m ON m.id = r.message_id JOIN conversations c ON c.id = m.conversation_id
            GROUP BY m.seq""")
    db.execute("CREATE INDEX rated_answers_newest ON rated_answers (assistant_id, last_rating)")
    db.execute("""
        CREATE TRIGGER rated_answers_come AFTER INSERT ON ratings BEGIN
            INSERT INTO rated_answers
                SELECT m.seq, c.assistant_id, new.seq
                FROM messages m JOIN conversations c ON c.id = m.conversation_id WHERE m.id = new.message_id
                ON CONFLICT (seq) DO UPDATE SET last_rating = max(last_rating, excluded.last_rating);
        END""")
    db.execute("""
        CREATE TRIGGER rated_answers_go AFTER DELETE ON ratings BEGIN
            DELETE FROM rated_answers WHERE seq = (SELECT seq FROM messages WHERE id = old.message_id)
                AND NOT EXISTS (SELECT 1 FROM ratings WHERE message_id = old.message_id);
            UPDATE rated_answers SET last_rating = (SELECT max(seq) FROM ratings WHERE message_id = old.message_id)
                WHERE seq = (SELECT seq FROM messages WHERE id = old.message_id);
        END""")
    db.execute("""
        CREATE TRIGGER rated_answers_change AFTER UPDATE OF seq ON ratings BEGIN
            UPDATE rated_answers SET last_rating = (SELECT max(seq) FROM ratings WHERE message_id = new.message_id)
                WHERE seq = (SELECT seq FROM messages WHERE id = new.message_id);
        END""")
    # The whole order of the list, since an import dates thousands of conversations alike, and what it is filtered by.
    db.execute("DROP INDEX conversations_of_assistant")
    db.execute(
        "CREATE INDEX conversations_newest ON conversations (assistant_id, updated_at, created_at, id)"
    )
    db.execute("""
        CREATE INDEX conversations_of_owner
            ON conversations (assistant_id, owner, updated_at, created_at, id, source)""")


@migrations()
def m014_decisions(db: Database) -> None:
    # An approval has a correction where a rater's correction was approved, rather than the answer as given.
    db.execute("""
        CREATE TABLE decisions (
            seq INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE CHECK (id <> ''),
            message_id TEXT NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
            reviewer TEXT NOT NULL,
            ruling TEXT NOT NULL CHECK (ruling IN ('approve', 'reject', 'correct', 'withdrawn')),
            correction TEXT CHECK (CASE ruling
                WHEN 'approve' THEN 1 WHEN 'correct' THEN correction IS NOT NULL ELSE correction IS NULL END),
            created_at REAL NOT NULL,
            restores TEXT  -- the id of the earlier decision that counts again; no foreign key, since it may be erased
        ) STRICT""")
    db.execute("CREATE INDEX decisions_of_message ON decisions (message_id, reviewer, seq)")
    db.execute("CREATE INDEX decisions_of_reviewer ON decisions (reviewer, created_at)")
    # What reviewers look for is found newest first, without reading ratings of another kind.
    db.execute("CREATE INDEX ratings_of_verdict ON ratings (verdict, seq)")
    db.execute("CREATE INDEX ratings_of_rater ON ratings (rater, seq)")
    db.execute("CREATE INDEX ratings_with_reason ON ratings (reason, seq) WHERE reason <> ''")
    db.execute("CREATE INDEX ratings_with_correction ON ratings (seq) WHERE correction IS NOT NULL")


@migrations()
def m015_failed_answers(db: Database) -> None:
    db.execute("CREATE INDEX messages_failed ON messages (deployment_id, created_at) WHERE status = 'failed'")


@migrations()
def m016_proposals(db: Database) -> None:
    db.execute("""
        CREATE TABLE judgement_requests (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
            message_id TEXT NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
            text TEXT NOT NULL,
            created_at REAL NOT NULL,
            accepted INTEGER CHECK (accepted IN (0, 1)),  -- NULL until a person has decided
            decided_by TEXT NOT NULL DEFAULT '',
            decided_at REAL,
            UNIQUE (message_id, text)
        ) STRICT""")
    db.execute("CREATE INDEX proposals_of_run ON judgement_requests (run_id, accepted)")


@migrations()
def m017_left_out_answers(db: Database) -> None:
    # By answer what `datasets.dropped` counts by rule. With a foreign key: a rule says nothing of an erased answer.
    db.execute("""
        CREATE TABLE dataset_left_out (
            dataset_id INTEGER NOT NULL REFERENCES datasets (id) ON DELETE CASCADE,
            message_id TEXT NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
            rule TEXT NOT NULL CHECK (rule <> ''),
            PRIMARY KEY (dataset_id, message_id)
        ) STRICT, WITHOUT ROWID""")
    db.execute("CREATE INDEX left_out_of_message ON dataset_left_out (message_id)")


@migrations()
def m018_accounts(db: Database) -> None:
    db.execute("""
        CREATE TABLE users (
            name TEXT PRIMARY KEY COLLATE NOCASE CHECK (name <> ''),
            role TEXT NOT NULL CHECK (role IN ('user', 'reviewer', 'admin')),
            password TEXT NOT NULL CHECK (password LIKE '$argon2id$%'),
            created_at REAL NOT NULL,
            changed_at REAL NOT NULL
        ) STRICT""")
    db.execute("""
        CREATE TABLE sessions (
            token_hash TEXT PRIMARY KEY CHECK (length(token_hash) = 64),
            user TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
            expires_at REAL NOT NULL
        ) STRICT, WITHOUT ROWID""")
    db.execute("CREATE INDEX sessions_of_user ON sessions (user, expires_at)")
    db.execute("CREATE INDEX sessions_by_end ON sessions (expires_at)")


@migrations()
def m019_audit(db: Database) -> None:
    db.execute("""
        CREATE TABLE audit (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,
            at REAL NOT NULL,
            actor TEXT NOT NULL CHECK (actor <> ''),
            action TEXT NOT NULL CHECK (action <> ''),
            subject TEXT NOT NULL,
            outcome TEXT NOT NULL CHECK (outcome IN ('done', 'failed', 'refused')),
            detail TEXT NOT NULL
        ) STRICT""")
    db.execute("CREATE INDEX audit_of_actor ON audit (actor, seq)")
    db.execute("CREATE INDEX audit_of_deed ON audit (action, seq)")
    # The third one is against INSERT OR REPLACE, which deletes without asking the second.
    for name, when, condition in (
        ("change", "UPDATE", "TRUE"),
        ("delete", "DELETE", "TRUE"),
        ("replace", "INSERT", "EXISTS (SELECT 1 FROM audit WHERE seq = new.seq)"),
    ):
        db.execute(f"""
            CREATE TRIGGER audit_never_{name} BEFORE {when} ON audit WHEN {condition}
            BEGIN SELECT raise(ABORT, 'the audit log is never changed'); END""")


@migrations()
def m022_how_sure(db: Database) -> None:
    # The mean log-probability of a token of the answer; NULL for answers from before, and of servers that do not say.
    db.execute("ALTER TABLE messages ADD COLUMN mean_ln_p REAL")


@migrations()
def m023_proposals_that_travel(db: Database) -> None:
    # Decided ones come along in a file: they belong to the assistant then, and to no run.
    db.execute("""
        CREATE TABLE proposals_of_assistants (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            assistant_id TEXT NOT NULL REFERENCES assistants (id),
            run_id INTEGER REFERENCES runs (id) ON DELETE CASCADE,  -- NULL where it came in with a file
            message_id TEXT NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
            text TEXT NOT NULL,
            created_at REAL NOT NULL,
            accepted INTEGER CHECK (accepted IN (0, 1)),  -- NULL until a person has decided
            decided_by TEXT NOT NULL DEFAULT '',
            decided_at REAL CHECK ((decided_at IS NULL) = (accepted IS NULL)),
            CHECK (run_id IS NOT NULL OR accepted IS NOT NULL),
            UNIQUE (message_id, text)
        ) STRICT""")
    db.execute("""
        INSERT INTO proposals_of_assistants
            SELECT p.id, r.assistant_id, p.run_id, p.message_id, p.text, p.created_at, p.accepted, p.decided_by,
                p.decided_at
            FROM judgement_requests p JOIN runs r ON r.id = p.run_id""")
    db.execute("DROP TABLE proposals")
    db.execute("ALTER TABLE proposals_of_assistants RENAME TO proposals")
    db.execute("CREATE INDEX proposals_of_run ON judgement_requests (run_id)")
    for name, condition in (("open", "IS NULL"), ("decided", "IS NOT NULL")):
        db.execute(
            f"CREATE INDEX proposals_{name} ON judgement_requests (assistant_id, id) WHERE accepted {condition}"
        )
    db.execute(
        "CREATE INDEX proposals_decided_by ON judgement_requests (decided_by, decided_at) WHERE accepted IS NOT NULL"
    )


@migrations()
def m024_words_of_decisions(db: Database) -> None:
    db.execute(
        "CREATE VIEW worded_decisions AS SELECT seq, correction FROM decisions WHERE correction IS NOT NULL"
    )
    db.execute("""
        CREATE VIRTUAL TABLE decision_words
        USING fts5(correction, content='worded_decisions', content_rowid='seq', columnsize=0,
            tokenize='unicode61 remove_diacritics 2')""")
    db.execute("INSERT INTO decision_words (decision_words) VALUES ('rebuild')")
    _index_words(db, "decision_words", "decisions", "seq", ("correction",), "{0}.correction IS NOT NULL")


@migrations()
def m025_gate_answers(db: Database) -> None:
    # By position in the run's dataset, which has the question as it was asked; the message takes its answers with it.
    db.execute("""
        CREATE TABLE gate_answers (
            run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
            system TEXT NOT NULL,
            position INTEGER NOT NULL,
            message_id TEXT NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
            text TEXT NOT NULL,
            score REAL NOT NULL CHECK (score BETWEEN 0 AND 1),
            PRIMARY KEY (run_id, system, position)
        ) STRICT, WITHOUT ROWID""")
    db.execute("CREATE INDEX gate_answers_of_message ON gate_answers (message_id)")
