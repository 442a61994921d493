"""Files from outside: read up to a bound, and kept from others."""
