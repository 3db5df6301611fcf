"""`logs`: what containers have written, read back from where their monitors have put it (see monitor.logfile)."""
