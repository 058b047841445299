"""The schema, as numbered migrations. A new column is a new migration at the end; an old one is never edited.

Comments stand inside the statements, so SQLite keeps them and `.schema` shows them.
"""

from __future__ import annotations

from sqlite_utils import Database, Migrations

migrations = Migrations("chatapp")


@migrations()
def m0001_conversations(db: Database) -> None:
    """Conversations, their message trees and the provenance of replies."""
    for statement in (
        """
        CREATE TABLE conversations (
            -- One row for each chat. Times everywhere are ISO 8601 text in UTC.
            id INTEGER PRIMARY KEY,
            title TEXT NOT NULL,
            system TEXT NOT NULL,  -- system prompt, empty for none
            created TEXT NOT NULL,
            updated TEXT NOT NULL,
            deleted TEXT           -- when it was deleted; NULL while it is there
        )
        """,
        """
        CREATE TABLE messages (
            -- A tree: regenerating a reply adds a sibling, editing adds a branch. Nothing is overwritten.
            id INTEGER PRIMARY KEY,
            conversation INTEGER NOT NULL REFERENCES conversations(id),
            parent INTEGER,        -- the message that this one answers or follows; NULL for a first message
            role TEXT NOT NULL CHECK (role IN ('system', 'user', 'assistant')),
            text TEXT NOT NULL,    -- as it was written; not made safe for a terminal
            origin TEXT NOT NULL CHECK (origin IN ('typed', 'model', 'edit', 'import')),
            active INTEGER NOT NULL CHECK (active IN (0, 1)),  -- the chosen one among its siblings
            created TEXT NOT NULL,
            deleted TEXT,
            finish_reason TEXT     -- why a reply ended; NULL for a typed message or one still being written
                CHECK (finish_reason IN ('stop', 'length', 'cancelled', 'error', 'interrupted')),
            writer_pid INTEGER,    -- the process that is writing this reply; NULL once the text is final
            writer_start TEXT,     -- when that process started, since a process id can be used again
            UNIQUE (conversation, id),
            FOREIGN KEY (conversation, parent) REFERENCES messages(conversation, id)
        )
        """,
        "CREATE INDEX messages_by_parent ON messages (conversation, parent)",
        "CREATE INDEX messages_being_written ON messages (writer_pid) WHERE writer_pid IS NOT NULL",
        """
        CREATE UNIQUE INDEX one_active_sibling ON messages (conversation, coalesce(parent, 0))
            WHERE active AND deleted IS NULL
        """,
        """
        CREATE TABLE replies (
            -- Where a model-written message came from: enough to make it again.
            message INTEGER PRIMARY KEY REFERENCES messages(id),
            model TEXT NOT NULL,
            model_sha256 TEXT,
            adapter TEXT,             -- NULL for the base model
            template_sha256 TEXT,     -- of the chat template
            seed INTEGER,             -- the one that was really used
            temperature REAL NOT NULL,
            top_k INTEGER NOT NULL,
            top_p REAL NOT NULL,
            min_p REAL NOT NULL,
            repeat_penalty REAL NOT NULL,
            max_tokens INTEGER NOT NULL,
            stop TEXT NOT NULL,       -- JSON array of stop strings
            prompt_tokens INTEGER NOT NULL,
            cached_tokens INTEGER NOT NULL,
            completion_tokens INTEGER NOT NULL,
            first_token_seconds REAL,
            seconds REAL,
            dropped_turns INTEGER NOT NULL  -- oldest turns that did not fit into the context
        )
        """,
        """
        CREATE TRIGGER final_text_never_changes
            BEFORE UPDATE OF id, conversation, parent, role, text, origin, created, finish_reason ON messages
            WHEN old.writer_pid IS NULL
        BEGIN
            SELECT RAISE(ABORT, 'a finished message never changes');
        END
        """,
        """
        CREATE TRIGGER final_text_has_no_writer BEFORE UPDATE OF writer_pid ON messages
            WHEN old.writer_pid IS NULL AND new.writer_pid IS NOT NULL
        BEGIN
            SELECT RAISE(ABORT, 'a finished message never changes');
        END
        """,
        """
        CREATE TRIGGER final_provenance_never_changes BEFORE UPDATE ON replies
            WHEN (SELECT writer_pid IS NULL FROM messages WHERE id = old.message)
        BEGIN
            SELECT RAISE(ABORT, 'the provenance of a finished reply never changes');
        END
        """,
        """
        CREATE VIEW active_paths AS
            -- What a reader sees of each conversation: the active child from each message on.
            WITH RECURSIVE path (conversation, depth, message) AS (
                SELECT conversation, 0, id FROM messages WHERE parent IS NULL AND active AND deleted IS NULL
                UNION ALL
                SELECT path.conversation, depth + 1, child.id FROM path JOIN messages AS child
                    ON child.conversation = path.conversation AND child.parent = path.message
                    AND child.active AND child.deleted IS NULL
            )
            SELECT path.conversation, depth, id, role, text, origin, created
            FROM path JOIN messages ON messages.id = path.message
        """,
    ):
        db.execute(statement)


@migrations()
def m0002_rankings(db: Database) -> None:
    """What a person said of replies. All of it is append-only: a later event replaces an earlier one."""
    for statement in (
        """
        CREATE TABLE ranking_events (
            -- One ranking of replies to one message. The order is in ranking_event_replies.
            id INTEGER PRIMARY KEY,
            prompt INTEGER NOT NULL REFERENCES messages(id),
            all_bad INTEGER NOT NULL CHECK (all_bad IN (0, 1)),
            tags TEXT NOT NULL,    -- JSON array of optional reasons
            milliseconds INTEGER,  -- how long the ranking took
            source TEXT NOT NULL,  -- chat, cli or import:FILE
            revises INTEGER REFERENCES ranking_events(id),  -- the same order with other tags
            created TEXT NOT NULL
        )
        """,
        "CREATE INDEX ranking_events_by_prompt ON ranking_events (prompt)",
        """
        CREATE TABLE ranking_event_replies (
            ranking INTEGER NOT NULL REFERENCES ranking_events(id),
            position INTEGER NOT NULL,  -- place on the screen, from 1
            reply INTEGER NOT NULL REFERENCES messages(id),
            tier INTEGER,               -- 1 is best, equal numbers are ties, NULL was shown and not ranked
            place INTEGER,              -- order within the tier, from 1
            PRIMARY KEY (ranking, position),
            UNIQUE (ranking, reply)
        )
        """,
        "CREATE INDEX ranking_event_replies_by_reply ON ranking_event_replies (reply)",
        """
        CREATE TABLE ranking_retractions (
            -- A ranking that was taken back.
            id INTEGER PRIMARY KEY,
            ranking INTEGER NOT NULL UNIQUE REFERENCES ranking_events(id),
            created TEXT NOT NULL
        )
        """,
        """
        CREATE TABLE thumb_events (
            id INTEGER PRIMARY KEY,
            reply INTEGER NOT NULL REFERENCES messages(id),
            value INTEGER NOT NULL CHECK (value IN (-1, 0, 1)),  -- 0 takes an earlier thumb back
            created TEXT NOT NULL
        )
        """,
        "CREATE INDEX thumb_events_by_reply ON thumb_events (reply)",
        """
        CREATE TABLE demonstrations (
            -- A reply that a person wrote in place of a model's.
            id INTEGER PRIMARY KEY,
            prompt INTEGER NOT NULL REFERENCES messages(id),
            reply INTEGER NOT NULL REFERENCES messages(id),
            created TEXT NOT NULL
        )
        """,
        """
        CREATE TABLE demonstration_replaces (
            demonstration INTEGER NOT NULL REFERENCES demonstrations(id),
            position INTEGER NOT NULL,
            reply INTEGER NOT NULL REFERENCES messages(id),  -- the demonstration is better than this one
            PRIMARY KEY (demonstration, position),
            UNIQUE (demonstration, reply)
        )
        """,
        """
        CREATE TABLE demonstration_retractions (
            id INTEGER PRIMARY KEY,
            demonstration INTEGER NOT NULL UNIQUE REFERENCES demonstrations(id),
            created TEXT NOT NULL
        )
        """,
        """
        CREATE VIEW rankings_in_force AS
            -- Not retracted, not deleted, and no later ranking of the same prompt shows all of its replies.
            SELECT ranking_events.*, prompts.conversation FROM ranking_events
            JOIN messages AS prompts ON prompts.id = ranking_events.prompt AND prompts.deleted IS NULL
            JOIN conversations ON conversations.id = prompts.conversation AND conversations.deleted IS NULL
            WHERE ranking_events.id NOT IN (SELECT ranking FROM ranking_retractions)
            AND NOT EXISTS (
                SELECT 1 FROM ranking_events AS later
                WHERE later.prompt = ranking_events.prompt AND later.id > ranking_events.id
                AND later.id NOT IN (SELECT ranking FROM ranking_retractions)
                AND NOT EXISTS (
                    SELECT 1 FROM ranking_event_replies AS shown WHERE shown.ranking = ranking_events.id
                    AND shown.reply NOT IN (SELECT reply FROM ranking_event_replies WHERE ranking = later.id)
                )
            )
        """,
        """
        CREATE VIEW thumbs_in_force AS
            -- The last thumb of each reply, where it was not taken back.
            SELECT thumb_events.* FROM thumb_events
            JOIN messages ON messages.id = thumb_events.reply AND messages.deleted IS NULL
            JOIN conversations ON conversations.id = messages.conversation AND conversations.deleted IS NULL
            WHERE value <> 0
            AND NOT EXISTS (SELECT 1 FROM thumb_events AS later
                            WHERE later.reply = thumb_events.reply AND later.id > thumb_events.id)
        """,
        """
        CREATE VIEW demonstrations_in_force AS
            SELECT demonstrations.* FROM demonstrations
            JOIN messages ON messages.id = demonstrations.reply AND messages.deleted IS NULL
            JOIN conversations ON conversations.id = messages.conversation AND conversations.deleted IS NULL
            WHERE demonstrations.id NOT IN (SELECT demonstration FROM demonstration_retractions)
        """,
        *(
            f"CREATE TRIGGER {table}_no_{verb} BEFORE {verb} ON {table} BEGIN"
            f" SELECT RAISE(ABORT, '{table} is append-only'); END"
            for table in (
                "ranking_events",
                "ranking_event_replies",
                "ranking_retractions",
                "thumb_events",
                "demonstrations",
                "demonstration_replaces",
                "demonstration_retractions",
            )
            for verb in ("update", "delete")
        ),
    ):
        db.execute(statement)


@migrations()
def m0003_search(db: Database) -> None:
    """Full-text index over finished messages; a reply is indexed once, when it is finished."""
    for statement in (
        """
        CREATE VIRTUAL TABLE messages_fts USING fts5 (
            text, tokenize='unicode61 remove_diacritics 2', prefix='2 3',
            content="messages", content_rowid="id"
        )
        """,
        """
        CREATE TRIGGER messages_fts_insert AFTER INSERT ON messages WHEN new.writer_pid IS NULL BEGIN
            INSERT INTO messages_fts (rowid, text) VALUES (new.id, new.text);
        END
        """,
        """
        CREATE TRIGGER messages_fts_finish AFTER UPDATE OF writer_pid ON messages
            WHEN old.writer_pid IS NOT NULL AND new.writer_pid IS NULL
        BEGIN
            INSERT INTO messages_fts (rowid, text) VALUES (new.id, new.text);
        END
        """,
        """
        CREATE TRIGGER messages_fts_delete AFTER DELETE ON messages WHEN old.writer_pid IS NULL BEGIN
            INSERT INTO messages_fts (messages_fts, rowid, text) VALUES ('delete', old.id, old.text);
        END
        """,
    ):
        db.execute(statement)


@migrations()
def m0004_xtc(db: Database) -> None:
    """The sampler that makes alternatives differ."""
    db.execute("ALTER TABLE replies ADD COLUMN xtc_probability REAL NOT NULL DEFAULT 0")
    db.execute("ALTER TABLE replies ADD COLUMN xtc_threshold REAL NOT NULL DEFAULT 0.1")


@migrations()
def m0005_adapters(db: Database) -> None:
    """What trainings made, and which of it answers. All of it is append-only: the later row counts."""
    for statement in (
        """
        CREATE TABLE adapters (
            -- What one training made. Its files lie in the folder of its name; a name is never given twice.
            id INTEGER PRIMARY KEY,
            name TEXT NOT NULL UNIQUE CHECK (name GLOB 'r[1-9]*' AND NOT substr(name, 2) GLOB '*[^0-9]*'),
            method TEXT NOT NULL,
            model TEXT NOT NULL,         -- name of the base when it was trained
            model_sha256 TEXT NOT NULL,  -- the base file that it fits
            parent TEXT,                 -- the adapter that the training started from; NULL for the base
            created TEXT NOT NULL,
            accepted INTEGER NOT NULL CHECK (accepted IN (0, 1)),  -- whether the gate let it through
            reason TEXT NOT NULL,        -- the verdict in one line
            run TEXT NOT NULL,           -- name of the run's folder
            data_sha256 TEXT NOT NULL,   -- of what it learned from
            settings TEXT NOT NULL,      -- JSON object
            evaluation TEXT NOT NULL,    -- JSON object: the figures of the gate
            UNIQUE (model_sha256, name),
            FOREIGN KEY (model_sha256, parent) REFERENCES adapters(model_sha256, name)
        )
        """,
        """
        CREATE TABLE adapter_choices (
            -- Which adapter answers for a model from here on.
            id INTEGER PRIMARY KEY,
            model_sha256 TEXT NOT NULL,
            adapter TEXT,                -- NULL for the base
            why TEXT NOT NULL,           -- use, off, rollback, train, delete
            created TEXT NOT NULL,
            FOREIGN KEY (model_sha256, adapter) REFERENCES adapters(model_sha256, name)
        )
        """,
        "CREATE INDEX adapter_choices_by_model ON adapter_choices (model_sha256)",
        """
        CREATE TABLE adapter_deletions (
            -- Deleting hides an adapter, restoring brings it back.
            id INTEGER PRIMARY KEY,
            adapter TEXT NOT NULL REFERENCES adapters(name),
            deleted INTEGER NOT NULL CHECK (deleted IN (0, 1)),
            created TEXT NOT NULL
        )
        """,
        "CREATE INDEX adapter_deletions_by_adapter ON adapter_deletions (adapter)",
        *(
            f"CREATE TRIGGER {table}_no_{verb} BEFORE {verb} ON {table} BEGIN"
            f" SELECT RAISE(ABORT, '{table} is append-only'); END"
            for table in ("adapters", "adapter_choices", "adapter_deletions")
            for verb in ("update", "delete")
        ),
    ):
        db.execute(statement)


@migrations()
def m0006_system_of_replies(db: Database) -> None:
    """The system prompt that a reply was written under, once its conversation has another one."""
    db.execute("ALTER TABLE messages ADD COLUMN system TEXT")
    db.execute(
        """
        CREATE TRIGGER system_of_a_reply_never_changes BEFORE UPDATE OF system ON messages
            -- NULL: the one that its conversation has.
            WHEN old.system IS NOT NULL
        BEGIN
            SELECT RAISE(ABORT, 'the system prompt of a reply never changes');
        END
        """
    )


@migrations()
def m0007_moments_of_conversations(db: Database) -> None:
    """An import looks each of its conversations up by when it began."""
    db.execute("CREATE INDEX conversations_by_moment ON conversations (created)")
