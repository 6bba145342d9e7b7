"""Whether a full log costs more than an empty one, on PostgreSQL."""
