"""The wire to Asterisk: AMI, configuration files over AMI, TLS. No module here uses the database."""
