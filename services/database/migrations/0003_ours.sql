-- Events of our own are few: with this, the last snapshot or the last link of a PBX is found without reading the log.
CREATE INDEX event_ours ON ledger.event (pbx, name, position) WHERE source = 'ringledger';
