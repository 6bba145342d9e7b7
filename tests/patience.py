"""How long a test of real servers waits for what must come."""

# A test that passes never waits so long, and one that fails on a busy machine shows nothing of the
# app. Tests that show that a wake came, and not the poll, set POLL_INTERVAL_S to NO_POLL_S.
PATIENCE_S = 30.0
PATIENCE_MS = 1_000 * PATIENCE_S
NO_POLL_S = 300
