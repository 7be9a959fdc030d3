"""What happened, for a person who looks on: as it lands in the journal, and session by session afterwards."""
