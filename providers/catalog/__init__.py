"""Reading, comparing and writing catalogue files: pure, without a database (that is `services.catalog`)."""
