"""Makes Redis again from PostgreSQL, when Redis was emptied or has lost what was acknowledged."""
