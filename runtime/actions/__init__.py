"""An action and what is asked of it: spec, requests, prompts, typed outputs. No ledger and no model lives here."""
