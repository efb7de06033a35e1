"""The command ``ingest-agent``, one file a verb."""
