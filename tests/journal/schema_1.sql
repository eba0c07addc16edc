BEGIN TRANSACTION;
CREATE TABLE actions (
	id VARCHAR NOT NULL, 
	position_id VARCHAR NOT NULL, 
	chain_id INTEGER NOT NULL, 
	signer VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	open INTEGER NOT NULL, 
	version INTEGER NOT NULL, 
	intent TEXT NOT NULL, 
	intent_hash VARCHAR NOT NULL, 
	draft TEXT NOT NULL, 
	decision_seq INTEGER NOT NULL, 
	nonce INTEGER, 
	mined_hash VARCHAR, 
	mined_number INTEGER, 
	mined_block VARCHAR, 
	mined_ok INTEGER, 
	created_s INTEGER NOT NULL, 
	changed_s INTEGER NOT NULL, 
	retry_of VARCHAR, 
	note TEXT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "actions" VALUES('a','position-1',31337,'0xA9d919beBF452ECd1aAEAeFA79cA7A1C53140A93','final_ok',0,7,'{"args":{"amount":5,"effect":1},"chain_id":31337,"kind":"effect","owner":"0x1111111111111111111111111111111111111111","position_id":"position-1","to":"0xC0Dec0dec0DeC0Dec0dEc0DEC0DEC0DEC0DEC0dE","value_wei":0}','849473b05f01648d44da2586b0a7677bfa09474bb0f929a141136ff8c078c9ea','{"amount":5,"asset":"0xaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","block":{"base_fee":1000000000,"chain_id":31337,"hash":"0x11f1efd0825aa3c737ce7a3831438f918cc83545afbed69e69fddee7e6fd5811","number":0,"parent_hash":"0x0000000000000000000000000000000000000000000000000000000000000000","timestamp":1700000000},"decision":"{}","gas":100000,"health_wad":1050000000000000000,"id":"a","intent":{"args":{"amount":5,"effect":1},"chain_id":31337,"kind":"effect","owner":"0x1111111111111111111111111111111111111111","position_id":"position-1","to":"0xC0Dec0dec0DeC0Dec0dEc0DEC0DEC0DEC0DEC0dE","value_wei":0},"loss_avoided_wei":0,"max_cost_wei":100000000000000000,"max_fee_per_gas_wei":300000000000,"retry_of":null,"signer":"0xA9d919beBF452ECd1aAEAeFA79cA7A1C53140A93","valid_until_s":1700003600}',2,0,'0xc2022aaff4d0e3a62e69f3a2ea1d225a0833b9393907f9e4ad01edd3f803c1da',1,'0x9e208ccaa7acee0b87f0743485b0d6fa43a66dd62971487080c2baff95a7ab13',1,1700000000,1700000780,NULL,'done in block 1');
INSERT INTO "actions" VALUES('b','position-2',31337,'0xA9d919beBF452ECd1aAEAeFA79cA7A1C53140A93','broadcast',1,5,'{"args":{"amount":5,"effect":2},"chain_id":31337,"kind":"effect","owner":"0x1111111111111111111111111111111111111111","position_id":"position-2","to":"0xC0Dec0dec0DeC0Dec0dEc0DEC0DEC0DEC0DEC0dE","value_wei":0}','f6cb12765f28a2701ab9dbde78eddf36c99a78e48b99951e08949dbd3fb65eba','{"amount":5,"asset":"0xaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","block":{"base_fee":1000000000,"chain_id":31337,"hash":"0x966ce8405ff97649a0d66c4de632901a4e5b29456c2888039973cb1e839eed8a","number":70,"parent_hash":"0xe8f7eb6c2ee741db8c317db2a5a111690d0d5e3c3715059594b62347aca57623","timestamp":1700000840},"decision":"{}","gas":100000,"health_wad":1050000000000000000,"id":"b","intent":{"args":{"amount":5,"effect":2},"chain_id":31337,"kind":"effect","owner":"0x1111111111111111111111111111111111111111","position_id":"position-2","to":"0xC0Dec0dec0DeC0Dec0dEc0DEC0DEC0DEC0DEC0dE","value_wei":0},"loss_avoided_wei":0,"max_cost_wei":100000000000000000,"max_fee_per_gas_wei":300000000000,"retry_of":null,"signer":"0xA9d919beBF452ECd1aAEAeFA79cA7A1C53140A93","valid_until_s":1700004440}',10,1,NULL,NULL,NULL,NULL,1700000840,1700000840,NULL,'attempt 2: accepted');
CREATE TABLE attempts (
	id INTEGER NOT NULL, 
	action_id VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	stage VARCHAR NOT NULL, 
	chain_id INTEGER NOT NULL, 
	signer VARCHAR NOT NULL, 
	nonce INTEGER NOT NULL, 
	intent_hash VARCHAR, 
	gas INTEGER NOT NULL, 
	max_fee_wei TEXT NOT NULL, 
	tip_wei TEXT NOT NULL, 
	block_number INTEGER NOT NULL, 
	raw TEXT, 
	hash VARCHAR, 
	said VARCHAR NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(action_id) REFERENCES actions (id), 
	UNIQUE (hash)
);
INSERT INTO "attempts" VALUES(1,'a','intent','sent',31337,'0xA9d919beBF452ECd1aAEAeFA79cA7A1C53140A93',0,'849473b05f01648d44da2586b0a7677bfa09474bb0f929a141136ff8c078c9ea',100000,'3150000000','150000000',0,'02f8b2827a69808408f0d18084bbc12f80830186a094c0dec0dec0dec0dec0dec0dec0dec0dec0dec0de80b844effec70100000000000000000000000000000000000000000000000000000000000000010000000000000000000000000000000000000000000000000000000000000005c001a0a888beef7f3ecf4c5a81829d8a7c489aaadd9b95bb9bc862e3e409661f6fe55ba06d64bacd485494f18c5485bb3aff9683a7a9140b3556f0d39d0acd827a10031d','0xc2022aaff4d0e3a62e69f3a2ea1d225a0833b9393907f9e4ad01edd3f803c1da','accepted');
INSERT INTO "attempts" VALUES(2,'b','intent','sent',31337,'0xA9d919beBF452ECd1aAEAeFA79cA7A1C53140A93',1,'f6cb12765f28a2701ab9dbde78eddf36c99a78e48b99951e08949dbd3fb65eba',100000,'3150000000','150000000',70,'02f8b2827a69018408f0d18084bbc12f80830186a094c0dec0dec0dec0dec0dec0dec0dec0dec0dec0de80b844effec70100000000000000000000000000000000000000000000000000000000000000020000000000000000000000000000000000000000000000000000000000000005c080a02b0d29295851be6a0e944b8b1afefda06c021f31f6d774ede77e484ae2e75d9ea06d736be6d6ed6f2ee47ec2c577d2879d03bcb5db31bb1857fdb5a0adeb61a555','0xfcac3b53ca25537d2249511dc4788237e26001eb65473c8c1d6c4c5e34205504','accepted');
CREATE TABLE budget (
	action_id VARCHAR NOT NULL, 
	position_id VARCHAR NOT NULL, 
	chain_id INTEGER NOT NULL, 
	signer VARCHAR NOT NULL, 
	asset VARCHAR NOT NULL, 
	amount TEXT NOT NULL, 
	gas_wei TEXT NOT NULL, 
	state VARCHAR NOT NULL, 
	at_s INTEGER NOT NULL, 
	PRIMARY KEY (action_id), 
	FOREIGN KEY(action_id) REFERENCES actions (id)
);
INSERT INTO "budget" VALUES('a','position-1',31337,'0xA9d919beBF452ECd1aAEAeFA79cA7A1C53140A93','0xaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','5','69000000000000','settled',1700000780);
INSERT INTO "budget" VALUES('b','position-2',31337,'0xA9d919beBF452ECd1aAEAeFA79cA7A1C53140A93','0xaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','5','315000000000000','reserved',1700000840);
CREATE TABLE finality (
	chain_id INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	hash VARCHAR NOT NULL, 
	PRIMARY KEY (chain_id)
);
INSERT INTO "finality" VALUES(31337,1,'0x9e208ccaa7acee0b87f0743485b0d6fa43a66dd62971487080c2baff95a7ab13');
CREATE TABLE holds (
	scope VARCHAR NOT NULL, 
	reason TEXT NOT NULL, 
	at_s INTEGER NOT NULL, 
	PRIMARY KEY (scope)
);
CREATE TABLE leases (
	name VARCHAR NOT NULL, 
	epoch INTEGER NOT NULL, 
	holder VARCHAR NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "leases" VALUES('executor',1,'pid 22468');
CREATE TABLE meta (
	name VARCHAR NOT NULL, 
	value VARCHAR NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "meta" VALUES('schema_version','1');
CREATE TABLE nonces (
	chain_id INTEGER NOT NULL, 
	signer VARCHAR NOT NULL, 
	nonce INTEGER NOT NULL, 
	action_id VARCHAR NOT NULL, 
	CONSTRAINT one_action_per_nonce UNIQUE (chain_id, signer, nonce), 
	UNIQUE (action_id), 
	FOREIGN KEY(action_id) REFERENCES actions (id)
);
INSERT INTO "nonces" VALUES(31337,'0xA9d919beBF452ECd1aAEAeFA79cA7A1C53140A93',0,'a');
INSERT INTO "nonces" VALUES(31337,'0xA9d919beBF452ECd1aAEAeFA79cA7A1C53140A93',1,'b');
CREATE TABLE outbox (
	id INTEGER NOT NULL, 
	record_seq INTEGER NOT NULL, 
	dedupe_key VARCHAR NOT NULL, 
	severity VARCHAR NOT NULL, 
	subject VARCHAR NOT NULL, 
	body TEXT NOT NULL, 
	at_s INTEGER NOT NULL, 
	delivered_s INTEGER, 
	PRIMARY KEY (id), 
	FOREIGN KEY(record_seq) REFERENCES records (seq), 
	UNIQUE (dedupe_key)
);
INSERT INTO "outbox" VALUES(1,2,'a/1','warn','a','planned: effect',1700000000,NULL);
INSERT INTO "outbox" VALUES(2,4,'a/2','info','a','armed: armed with nonce 0',1700000000,NULL);
INSERT INTO "outbox" VALUES(3,6,'a/4','info','a','signed: signed intent 0xc2022aaff4d0e3a62e69f3a2ea1d225a0833b9393907f9e4ad01edd3f803c1da',1700000000,NULL);
INSERT INTO "outbox" VALUES(4,7,'a/5','info','a','broadcast: attempt 1: accepted',1700000000,NULL);
INSERT INTO "outbox" VALUES(5,8,'a/6','info','a','mined: in block 1',1700000012,NULL);
INSERT INTO "outbox" VALUES(6,9,'a/7','info','a','final_ok: done in block 1',1700000780,NULL);
INSERT INTO "outbox" VALUES(7,10,'b/1','warn','b','planned: effect',1700000840,NULL);
INSERT INTO "outbox" VALUES(8,11,'b/2','info','b','armed: armed with nonce 1',1700000840,NULL);
INSERT INTO "outbox" VALUES(9,13,'b/4','info','b','signed: signed intent 0xfcac3b53ca25537d2249511dc4788237e26001eb65473c8c1d6c4c5e34205504',1700000840,NULL);
INSERT INTO "outbox" VALUES(10,14,'b/5','info','b','broadcast: attempt 2: accepted',1700000840,NULL);
CREATE TABLE records (
	seq INTEGER NOT NULL, 
	at_s INTEGER NOT NULL, 
	kind VARCHAR NOT NULL, 
	subject VARCHAR NOT NULL, 
	cause_seq INTEGER, 
	body TEXT NOT NULL, 
	prev_hash VARCHAR NOT NULL, 
	hash VARCHAR NOT NULL, 
	PRIMARY KEY (seq), 
	UNIQUE (hash)
);
INSERT INTO "records" VALUES(1,1700000000,'lease','executor',NULL,'{"epoch":1,"holder":"pid 22468"}','0000000000000000000000000000000000000000000000000000000000000000','b132d40b54f697a1da8ecaedbc15a7aaa6a27abc985911c6e1482d4ca618353f');
INSERT INTO "records" VALUES(2,1700000000,'decision','a',NULL,'{"draft":"{\"amount\":5,\"asset\":\"0xaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\",\"block\":{\"base_fee\":1000000000,\"chain_id\":31337,\"hash\":\"0x11f1efd0825aa3c737ce7a3831438f918cc83545afbed69e69fddee7e6fd5811\",\"number\":0,\"parent_hash\":\"0x0000000000000000000000000000000000000000000000000000000000000000\",\"timestamp\":1700000000},\"decision\":\"{}\",\"gas\":100000,\"health_wad\":1050000000000000000,\"id\":\"a\",\"intent\":{\"args\":{\"amount\":5,\"effect\":1},\"chain_id\":31337,\"kind\":\"effect\",\"owner\":\"0x1111111111111111111111111111111111111111\",\"position_id\":\"position-1\",\"to\":\"0xC0Dec0dec0DeC0Dec0dEc0DEC0DEC0DEC0DEC0dE\",\"value_wei\":0},\"loss_avoided_wei\":0,\"max_cost_wei\":100000000000000000,\"max_fee_per_gas_wei\":300000000000,\"retry_of\":null,\"signer\":\"0xA9d919beBF452ECd1aAEAeFA79cA7A1C53140A93\",\"valid_until_s\":1700003600}","intent_hash":"849473b05f01648d44da2586b0a7677bfa09474bb0f929a141136ff8c078c9ea","version":1}','b132d40b54f697a1da8ecaedbc15a7aaa6a27abc985911c6e1482d4ca618353f','2a6fb273b213cc41be67f19380d53750621d976e084282d7c0fa1da05390fcee');
INSERT INTO "records" VALUES(3,1700000000,'signer','0xA9d919beBF452ECd1aAEAeFA79cA7A1C53140A93',NULL,'{"chain_id":31337,"next_nonce":0}','2a6fb273b213cc41be67f19380d53750621d976e084282d7c0fa1da05390fcee','fe36640b9b7a8f4982b8132279dd1cbce10173ebeef24a1286c1fdcd511aa4f6');
INSERT INTO "records" VALUES(4,1700000000,'arm','a',NULL,'{"amount":"5","from":"planned","gas_wei":"315000000000000","nonce":0,"to":"armed","version":2,"why":"armed with nonce 0"}','fe36640b9b7a8f4982b8132279dd1cbce10173ebeef24a1286c1fdcd511aa4f6','b64b35270d8ffdaa39115ff7d001e3c01028160d4654379cdd6283fd9be11c8a');
INSERT INTO "records" VALUES(5,1700000000,'reserve','a',NULL,'{"amount":"5","attempt":1,"from":"armed","gas_wei":"315000000000000","kind":"intent","max_fee_wei":"3150000000","tip_wei":"150000000","to":"armed","version":3,"why":""}','b64b35270d8ffdaa39115ff7d001e3c01028160d4654379cdd6283fd9be11c8a','ee95885895d63eaa05a88e9209a62f4b4927e088b0add887d7bd080ce411e3e1');
INSERT INTO "records" VALUES(6,1700000000,'save','a',NULL,'{"attempt":1,"from":"armed","hash":"0xc2022aaff4d0e3a62e69f3a2ea1d225a0833b9393907f9e4ad01edd3f803c1da","to":"signed","version":4,"why":"signed intent 0xc2022aaff4d0e3a62e69f3a2ea1d225a0833b9393907f9e4ad01edd3f803c1da"}','ee95885895d63eaa05a88e9209a62f4b4927e088b0add887d7bd080ce411e3e1','a2cd0f9ab7ae7dfa34540b901015effe09eb204edbeb6d8f79245c02d2a16c22');
INSERT INTO "records" VALUES(7,1700000000,'change','a',NULL,'{"adopt":[],"free_nonce":false,"from":"signed","mined_block":null,"mined_hash":null,"mined_number":null,"mined_ok":null,"sent":[1],"settle":null,"successor":null,"to":"broadcast","version":5,"why":"attempt 1: accepted"}','a2cd0f9ab7ae7dfa34540b901015effe09eb204edbeb6d8f79245c02d2a16c22','27c579bab433a341f51bf9a04b3e338e66455096aea768c6485823e61eb0e825');
INSERT INTO "records" VALUES(8,1700000012,'change','a',NULL,'{"adopt":[],"free_nonce":false,"from":"broadcast","mined_block":"0x9e208ccaa7acee0b87f0743485b0d6fa43a66dd62971487080c2baff95a7ab13","mined_hash":"0xc2022aaff4d0e3a62e69f3a2ea1d225a0833b9393907f9e4ad01edd3f803c1da","mined_number":1,"mined_ok":1,"sent":[],"settle":null,"successor":null,"to":"mined","version":6,"why":"in block 1"}','27c579bab433a341f51bf9a04b3e338e66455096aea768c6485823e61eb0e825','51a4cb35fe7abaaf829ebed97c2fde6fd62206532dcadcf590038ebc6ef3f18d');
INSERT INTO "records" VALUES(9,1700000780,'change','a',NULL,'{"adopt":[],"free_nonce":false,"from":"mined","mined_block":"0x9e208ccaa7acee0b87f0743485b0d6fa43a66dd62971487080c2baff95a7ab13","mined_hash":"0xc2022aaff4d0e3a62e69f3a2ea1d225a0833b9393907f9e4ad01edd3f803c1da","mined_number":1,"mined_ok":1,"sent":[],"settle":["5","69000000000000"],"successor":null,"to":"final_ok","version":7,"why":"done in block 1"}','51a4cb35fe7abaaf829ebed97c2fde6fd62206532dcadcf590038ebc6ef3f18d','6adec05098c76398cc9105fcfc4abdfedabeaef1ea5320f7ba79e2a1f49fa908');
INSERT INTO "records" VALUES(10,1700000840,'decision','b',NULL,'{"draft":"{\"amount\":5,\"asset\":\"0xaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\",\"block\":{\"base_fee\":1000000000,\"chain_id\":31337,\"hash\":\"0x966ce8405ff97649a0d66c4de632901a4e5b29456c2888039973cb1e839eed8a\",\"number\":70,\"parent_hash\":\"0xe8f7eb6c2ee741db8c317db2a5a111690d0d5e3c3715059594b62347aca57623\",\"timestamp\":1700000840},\"decision\":\"{}\",\"gas\":100000,\"health_wad\":1050000000000000000,\"id\":\"b\",\"intent\":{\"args\":{\"amount\":5,\"effect\":2},\"chain_id\":31337,\"kind\":\"effect\",\"owner\":\"0x1111111111111111111111111111111111111111\",\"position_id\":\"position-2\",\"to\":\"0xC0Dec0dec0DeC0Dec0dEc0DEC0DEC0DEC0DEC0dE\",\"value_wei\":0},\"loss_avoided_wei\":0,\"max_cost_wei\":100000000000000000,\"max_fee_per_gas_wei\":300000000000,\"retry_of\":null,\"signer\":\"0xA9d919beBF452ECd1aAEAeFA79cA7A1C53140A93\",\"valid_until_s\":1700004440}","intent_hash":"f6cb12765f28a2701ab9dbde78eddf36c99a78e48b99951e08949dbd3fb65eba","version":1}','6adec05098c76398cc9105fcfc4abdfedabeaef1ea5320f7ba79e2a1f49fa908','c33bc3d3d86e35dd96385f2f888f0da39c07a6170edfa9d76345ec13f0cd93a9');
INSERT INTO "records" VALUES(11,1700000840,'arm','b',NULL,'{"amount":"5","from":"planned","gas_wei":"315000000000000","nonce":1,"to":"armed","version":2,"why":"armed with nonce 1"}','c33bc3d3d86e35dd96385f2f888f0da39c07a6170edfa9d76345ec13f0cd93a9','d3301491b57bd1e0f272195970f76d8383270b7236f77e115d835b63cb4375b2');
INSERT INTO "records" VALUES(12,1700000840,'reserve','b',NULL,'{"amount":"5","attempt":2,"from":"armed","gas_wei":"315000000000000","kind":"intent","max_fee_wei":"3150000000","tip_wei":"150000000","to":"armed","version":3,"why":""}','d3301491b57bd1e0f272195970f76d8383270b7236f77e115d835b63cb4375b2','b4bbabfadd466e8c40cd777cfc55cd56c5a466c386bce3c19b8c8e81603a92be');
INSERT INTO "records" VALUES(13,1700000840,'save','b',NULL,'{"attempt":2,"from":"armed","hash":"0xfcac3b53ca25537d2249511dc4788237e26001eb65473c8c1d6c4c5e34205504","to":"signed","version":4,"why":"signed intent 0xfcac3b53ca25537d2249511dc4788237e26001eb65473c8c1d6c4c5e34205504"}','b4bbabfadd466e8c40cd777cfc55cd56c5a466c386bce3c19b8c8e81603a92be','a446b61b433047f8682d0c948882120d2a3bfbd6f6d8259fb8282e24f7ff05f7');
INSERT INTO "records" VALUES(14,1700000840,'change','b',NULL,'{"adopt":[],"free_nonce":false,"from":"signed","mined_block":null,"mined_hash":null,"mined_number":null,"mined_ok":null,"sent":[2],"settle":null,"successor":null,"to":"broadcast","version":5,"why":"attempt 2: accepted"}','a446b61b433047f8682d0c948882120d2a3bfbd6f6d8259fb8282e24f7ff05f7','47137316b6dd8bbaf9d5fd291b797c9ed70f7296e214360e733b77430d1c215e');
CREATE TABLE signers (
	chain_id INTEGER NOT NULL, 
	address VARCHAR NOT NULL, 
	next_nonce INTEGER NOT NULL, 
	PRIMARY KEY (chain_id, address)
);
INSERT INTO "signers" VALUES(31337,'0xA9d919beBF452ECd1aAEAeFA79cA7A1C53140A93',2);
CREATE TRIGGER records_no_update BEFORE UPDATE ON records BEGIN SELECT RAISE(ABORT, 'records are only ever appended'); END;
CREATE TRIGGER records_no_delete BEFORE DELETE ON records BEGIN SELECT RAISE(ABORT, 'records are only ever appended'); END;
CREATE INDEX actions_open ON actions (chain_id, open);
CREATE UNIQUE INDEX one_open_action_per_position ON actions (position_id) WHERE open = 1;
CREATE INDEX ix_attempts_action_id ON attempts (action_id);
CREATE INDEX outbox_pending ON outbox (id) WHERE delivered_s IS NULL;
COMMIT;
