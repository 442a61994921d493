"""Keys of the API: made, verified, revoked; what each may do. HTTP is not known here."""
