"""Several server processes behind nginx, on PostgreSQL and Redis."""
