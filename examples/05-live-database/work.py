"""The team's own program, which knows nothing of StateKeep: it advances actors, as it always has.

    python work.py DATABASE EVENTS

State, revision and event are written in one transaction, and only if nobody else has moved the actor since it
was read. That is all StateKeep asks of a writer.
"""

import json
import sqlite3
import sys

database = sqlite3.connect(sys.argv[1], isolation_level=None)
done = 0
with open(sys.argv[2]) as events:
    for line in events:
        event = json.loads(line)
        actor = event["actor"]
        database.execute("BEGIN IMMEDIATE")
        (revision,) = database.execute(
            "SELECT revision FROM statekeep_actors WHERE id = ? AND status = 'active'", (actor,)
        ).fetchone()
        moved = database.execute(
            "UPDATE statekeep_actors SET state = ?, revision = revision + 1 WHERE id = ? AND revision = ?",
            (json.dumps(event["state"]), actor, revision),
        )
        assert moved.rowcount == 1
        database.execute(
            "INSERT INTO statekeep_events (actor, type, at) VALUES (?, ?, ?)",
            (actor, event["type"], event["at"]),
        )
        database.execute("COMMIT")
        done += 1
print(f"{done} actors went on")
