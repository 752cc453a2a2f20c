"""How everything is, for people and programs: report, JSON, metrics, health, page, and what serves them."""
