BEGIN TRANSACTION;
CREATE TABLE actions (
	id VARCHAR NOT NULL, 
	position_id VARCHAR NOT NULL, 
	chain_id BIGINT NOT NULL, 
	signer VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	open INTEGER NOT NULL, 
	version INTEGER NOT NULL, 
	intent TEXT NOT NULL, 
	intent_hash VARCHAR NOT NULL, 
	draft TEXT NOT NULL, 
	decision_seq INTEGER NOT NULL, 
	nonce BIGINT, 
	mined_hash VARCHAR, 
	mined_number BIGINT, 
	mined_block VARCHAR, 
	mined_ok INTEGER, 
	created_s BIGINT NOT NULL, 
	changed_s BIGINT NOT NULL, 
	retry_of VARCHAR, 
	note TEXT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "actions" VALUES('a','position-1',31337,'0xA9d919beBF452ECd1aAEAeFA79cA7A1C53140A93','final_ok',0,7,'{"args":{"amount":5,"effect":1},"chain_id":31337,"kind":"effect","owner":"0x1111111111111111111111111111111111111111","position_id":"position-1","to":"0xC0Dec0dec0DeC0Dec0dEc0DEC0DEC0DEC0DEC0dE","value_wei":0}','849473b05f01648d44da2586b0a7677bfa09474bb0f929a141136ff8c078c9ea','{"amount":5,"asset":"0xaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","block":{"base_fee":1000000000,"chain_id":31337,"hash":"0x11f1efd0825aa3c737ce7a3831438f918cc83545afbed69e69fddee7e6fd5811","number":0,"parent_hash":"0x0000000000000000000000000000000000000000000000000000000000000000","timestamp":1700000000},"decision":"{}","gas":100000,"health_wad":1050000000000000000,"id":"a","intent":{"args":{"amount":5,"effect":1},"chain_id":31337,"kind":"effect","owner":"0x1111111111111111111111111111111111111111","position_id":"position-1","to":"0xC0Dec0dec0DeC0Dec0dEc0DEC0DEC0DEC0DEC0dE","value_wei":0},"l1_data_fee_wei":0,"loss_avoided_wei":0,"max_cost_wei":100000000000000000,"max_fee_per_gas_wei":300000000000,"retry_of":null,"signer":"0xA9d919beBF452ECd1aAEAeFA79cA7A1C53140A93","valid_until_s":1700003600}',2,0,'0xc2022aaff4d0e3a62e69f3a2ea1d225a0833b9393907f9e4ad01edd3f803c1da',1,'0x9e208ccaa7acee0b87f0743485b0d6fa43a66dd62971487080c2baff95a7ab13',1,1700000000,1700000780,NULL,'done in block 1');
INSERT INTO "actions" VALUES('b','position-2',31337,'0xA9d919beBF452ECd1aAEAeFA79cA7A1C53140A93','broadcast',1,5,'{"args":{"amount":5,"effect":2},"chain_id":31337,"kind":"effect","owner":"0x1111111111111111111111111111111111111111","position_id":"position-2","to":"0xC0Dec0dec0DeC0Dec0dEc0DEC0DEC0DEC0DEC0dE","value_wei":0}','f6cb12765f28a2701ab9dbde78eddf36c99a78e48b99951e08949dbd3fb65eba','{"amount":5,"asset":"0xaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","block":{"base_fee":1000000000,"chain_id":31337,"hash":"0x966ce8405ff97649a0d66c4de632901a4e5b29456c2888039973cb1e839eed8a","number":70,"parent_hash":"0xe8f7eb6c2ee741db8c317db2a5a111690d0d5e3c3715059594b62347aca57623","timestamp":1700000840},"decision":"{}","gas":100000,"health_wad":1050000000000000000,"id":"b","intent":{"args":{"amount":5,"effect":2},"chain_id":31337,"kind":"effect","owner":"0x1111111111111111111111111111111111111111","position_id":"position-2","to":"0xC0Dec0dec0DeC0Dec0dEc0DEC0DEC0DEC0DEC0dE","value_wei":0},"l1_data_fee_wei":0,"loss_avoided_wei":0,"max_cost_wei":100000000000000000,"max_fee_per_gas_wei":300000000000,"retry_of":null,"signer":"0xA9d919beBF452ECd1aAEAeFA79cA7A1C53140A93","valid_until_s":1700004440}',10,1,NULL,NULL,NULL,NULL,1700000840,1700000840,NULL,'attempt 2: accepted');
CREATE TABLE attempts (
	id INTEGER NOT NULL, 
	action_id VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	stage VARCHAR NOT NULL, 
	chain_id BIGINT NOT NULL, 
	signer VARCHAR NOT NULL, 
	nonce BIGINT NOT NULL, 
	intent_hash VARCHAR, 
	gas BIGINT NOT NULL, 
	max_fee_wei TEXT NOT NULL, 
	tip_wei TEXT NOT NULL, 
	block_number BIGINT NOT NULL, 
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
	chain_id BIGINT NOT NULL, 
	signer VARCHAR NOT NULL, 
	asset VARCHAR NOT NULL, 
	amount TEXT NOT NULL, 
	gas_wei TEXT NOT NULL, 
	state VARCHAR NOT NULL, 
	at_s BIGINT NOT NULL, 
	PRIMARY KEY (action_id), 
	FOREIGN KEY(action_id) REFERENCES actions (id)
);
INSERT INTO "budget" VALUES('a','position-1',31337,'0xA9d919beBF452ECd1aAEAeFA79cA7A1C53140A93','0xaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','5','69000000000000','settled',1700000780);
INSERT INTO "budget" VALUES('b','position-2',31337,'0xA9d919beBF452ECd1aAEAeFA79cA7A1C53140A93','0xaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','5','315000000000000','reserved',1700000840);
CREATE TABLE channels (
	name VARCHAR NOT NULL, 
	since_id INTEGER NOT NULL, 
	failures INTEGER NOT NULL, 
	failing_since_s BIGINT, 
	retry_s BIGINT NOT NULL, 
	error TEXT NOT NULL, 
	told INTEGER NOT NULL, 
	delivered_s BIGINT, 
	PRIMARY KEY (name)
);
CREATE TABLE deliveries (
	outbox_id INTEGER NOT NULL, 
	channel VARCHAR NOT NULL, 
	message_key VARCHAR NOT NULL, 
	PRIMARY KEY (outbox_id, channel), 
	FOREIGN KEY(outbox_id) REFERENCES outbox (id), 
	FOREIGN KEY(message_key) REFERENCES messages ("key")
);
CREATE TABLE finality (
	chain_id BIGINT NOT NULL, 
	number BIGINT NOT NULL, 
	hash VARCHAR NOT NULL, 
	PRIMARY KEY (chain_id)
);
INSERT INTO "finality" VALUES(31337,1,'0x9e208ccaa7acee0b87f0743485b0d6fa43a66dd62971487080c2baff95a7ab13');
CREATE TABLE holds (
	scope VARCHAR NOT NULL, 
	reason TEXT NOT NULL, 
	at_s BIGINT NOT NULL, 
	PRIMARY KEY (scope)
);
CREATE TABLE leases (
	name VARCHAR NOT NULL, 
	epoch INTEGER NOT NULL, 
	holder VARCHAR NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "leases" VALUES('executor',1,'pid 22480');
CREATE TABLE levels (
	position_id VARCHAR NOT NULL, 
	level VARCHAR NOT NULL, 
	health VARCHAR NOT NULL, 
	since_s BIGINT NOT NULL, 
	reminded INTEGER NOT NULL, 
	PRIMARY KEY (position_id)
);
CREATE TABLE messages (
	"key" VARCHAR NOT NULL, 
	channel VARCHAR NOT NULL, 
	made_s BIGINT NOT NULL, 
	done_s BIGINT, 
	PRIMARY KEY ("key")
);
CREATE TABLE meta (
	name VARCHAR NOT NULL, 
	value VARCHAR NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "meta" VALUES('schema_version','2');
CREATE TABLE nonces (
	chain_id BIGINT NOT NULL, 
	signer VARCHAR NOT NULL, 
	nonce BIGINT NOT NULL, 
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
	at_s BIGINT NOT NULL, 
	delivered_s BIGINT, 
	kind VARCHAR DEFAULT 'action' NOT NULL, 
	detail TEXT DEFAULT '{}' NOT NULL, 
	chain_id BIGINT, 
	block_number BIGINT, 
	block_hash VARCHAR, 
	standing VARCHAR DEFAULT 'final' NOT NULL, 
	corrects INTEGER, 
	seen_s BIGINT, 
	escalated INTEGER DEFAULT '0' NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(record_seq) REFERENCES records (seq), 
	UNIQUE (dedupe_key)
);
INSERT INTO "outbox" VALUES(1,2,'a/1','warn','a','planned: effect',1700000000,NULL,'action','{"action":"effect","amount":"5","before":null,"cause":null,"decimals":null,"expected":null,"position":"position-1","state":"planned","symbol":null,"target":null,"tx":null,"why":null}',31337,0,'0x11f1efd0825aa3c737ce7a3831438f918cc83545afbed69e69fddee7e6fd5811','provisional',NULL,NULL,0);
INSERT INTO "outbox" VALUES(2,4,'a/2','info','a','armed: armed with nonce 0',1700000000,NULL,'action','{"action":"effect","amount":"5","before":null,"cause":null,"decimals":null,"expected":null,"position":"position-1","state":"armed","symbol":null,"target":null,"tx":null,"why":null}',NULL,NULL,NULL,'final',NULL,NULL,0);
INSERT INTO "outbox" VALUES(3,6,'a/4','info','a','signed: signed intent 0xc2022aaff4d0e3a62e69f3a2ea1d225a0833b9393907f9e4ad01edd3f803c1da',1700000000,NULL,'action','{"action":"effect","amount":"5","before":null,"cause":null,"decimals":null,"expected":null,"position":"position-1","state":"signed","symbol":null,"target":null,"tx":null,"why":null}',NULL,NULL,NULL,'final',NULL,NULL,0);
INSERT INTO "outbox" VALUES(4,7,'a/5','info','a','broadcast: attempt 1: accepted',1700000000,NULL,'action','{"action":"effect","amount":"5","before":null,"cause":null,"decimals":null,"expected":null,"position":"position-1","state":"broadcast","symbol":null,"target":null,"tx":null,"why":null}',NULL,NULL,NULL,'final',NULL,NULL,0);
INSERT INTO "outbox" VALUES(5,8,'a/6','info','a','mined: in block 1',1700000012,NULL,'outcome','{"action":"effect","amount":"5","before":null,"cause":null,"decimals":null,"expected":null,"position":"position-1","state":"mined","symbol":null,"target":null,"tx":"0xc2022aaff4d0e3a62e69f3a2ea1d225a0833b9393907f9e4ad01edd3f803c1da","why":null}',31337,1,'0x9e208ccaa7acee0b87f0743485b0d6fa43a66dd62971487080c2baff95a7ab13','provisional',NULL,NULL,0);
INSERT INTO "outbox" VALUES(6,9,'a/7','info','a','final_ok: done in block 1',1700000780,NULL,'outcome','{"action":"effect","amount":"5","before":null,"cause":null,"decimals":null,"expected":null,"position":"position-1","state":"final_ok","symbol":null,"target":null,"tx":"0xc2022aaff4d0e3a62e69f3a2ea1d225a0833b9393907f9e4ad01edd3f803c1da","why":null}',NULL,NULL,NULL,'final',NULL,NULL,0);
INSERT INTO "outbox" VALUES(7,10,'b/1','warn','b','planned: effect',1700000840,NULL,'action','{"action":"effect","amount":"5","before":null,"cause":null,"decimals":null,"expected":null,"position":"position-2","state":"planned","symbol":null,"target":null,"tx":null,"why":null}',31337,70,'0x966ce8405ff97649a0d66c4de632901a4e5b29456c2888039973cb1e839eed8a','provisional',NULL,NULL,0);
INSERT INTO "outbox" VALUES(8,11,'b/2','info','b','armed: armed with nonce 1',1700000840,NULL,'action','{"action":"effect","amount":"5","before":null,"cause":null,"decimals":null,"expected":null,"position":"position-2","state":"armed","symbol":null,"target":null,"tx":null,"why":null}',NULL,NULL,NULL,'final',NULL,NULL,0);
INSERT INTO "outbox" VALUES(9,13,'b/4','info','b','signed: signed intent 0xfcac3b53ca25537d2249511dc4788237e26001eb65473c8c1d6c4c5e34205504',1700000840,NULL,'action','{"action":"effect","amount":"5","before":null,"cause":null,"decimals":null,"expected":null,"position":"position-2","state":"signed","symbol":null,"target":null,"tx":null,"why":null}',NULL,NULL,NULL,'final',NULL,NULL,0);
INSERT INTO "outbox" VALUES(10,14,'b/5','info','b','broadcast: attempt 2: accepted',1700000840,NULL,'action','{"action":"effect","amount":"5","before":null,"cause":null,"decimals":null,"expected":null,"position":"position-2","state":"broadcast","symbol":null,"target":null,"tx":null,"why":null}',NULL,NULL,NULL,'final',NULL,NULL,0);
CREATE TABLE records (
	seq INTEGER NOT NULL, 
	at_s BIGINT NOT NULL, 
	kind VARCHAR NOT NULL, 
	subject VARCHAR NOT NULL, 
	cause_seq INTEGER, 
	body TEXT NOT NULL, 
	prev_hash VARCHAR NOT NULL, 
	hash VARCHAR NOT NULL, 
	PRIMARY KEY (seq), 
	UNIQUE (hash)
);
INSERT INTO "records" VALUES(1,1700000000,'lease','executor',NULL,'{"epoch":1,"holder":"pid 22480"}','0000000000000000000000000000000000000000000000000000000000000000','06818608c2826947eb856262a149b2943826c1c2f449f923b59b20c190e409a7');
INSERT INTO "records" VALUES(2,1700000000,'decision','a',NULL,'{"draft":"{\"amount\":5,\"asset\":\"0xaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\",\"block\":{\"base_fee\":1000000000,\"chain_id\":31337,\"hash\":\"0x11f1efd0825aa3c737ce7a3831438f918cc83545afbed69e69fddee7e6fd5811\",\"number\":0,\"parent_hash\":\"0x0000000000000000000000000000000000000000000000000000000000000000\",\"timestamp\":1700000000},\"decision\":\"{}\",\"gas\":100000,\"health_wad\":1050000000000000000,\"id\":\"a\",\"intent\":{\"args\":{\"amount\":5,\"effect\":1},\"chain_id\":31337,\"kind\":\"effect\",\"owner\":\"0x1111111111111111111111111111111111111111\",\"position_id\":\"position-1\",\"to\":\"0xC0Dec0dec0DeC0Dec0dEc0DEC0DEC0DEC0DEC0dE\",\"value_wei\":0},\"l1_data_fee_wei\":0,\"loss_avoided_wei\":0,\"max_cost_wei\":100000000000000000,\"max_fee_per_gas_wei\":300000000000,\"retry_of\":null,\"signer\":\"0xA9d919beBF452ECd1aAEAeFA79cA7A1C53140A93\",\"valid_until_s\":1700003600}","intent_hash":"849473b05f01648d44da2586b0a7677bfa09474bb0f929a141136ff8c078c9ea","version":1}','06818608c2826947eb856262a149b2943826c1c2f449f923b59b20c190e409a7','72d6e171a8d3d008972370477e1cea7293ebbdad9f0f479245cf263e8e33e812');
INSERT INTO "records" VALUES(3,1700000000,'signer','0xA9d919beBF452ECd1aAEAeFA79cA7A1C53140A93',NULL,'{"chain_id":31337,"next_nonce":0}','72d6e171a8d3d008972370477e1cea7293ebbdad9f0f479245cf263e8e33e812','6753d601fb2472047fbef274352d559640a5c0ebefc0f0e658862df42f8922d8');
INSERT INTO "records" VALUES(4,1700000000,'arm','a',NULL,'{"amount":"5","from":"planned","gas_wei":"315000000000000","nonce":0,"to":"armed","version":2,"why":"armed with nonce 0"}','6753d601fb2472047fbef274352d559640a5c0ebefc0f0e658862df42f8922d8','7cb01f8d5bfbb2e85886bcef4be509afe73c4bc8ef74eb09b5b318b582ad97f4');
INSERT INTO "records" VALUES(5,1700000000,'reserve','a',NULL,'{"amount":"5","attempt":1,"from":"armed","gas_wei":"315000000000000","kind":"intent","max_fee_wei":"3150000000","tip_wei":"150000000","to":"armed","version":3,"why":""}','7cb01f8d5bfbb2e85886bcef4be509afe73c4bc8ef74eb09b5b318b582ad97f4','97ebf9216c81fdd77e3abaa7a62ee7c73382139ac73246a19741f84bb7798aa0');
INSERT INTO "records" VALUES(6,1700000000,'save','a',NULL,'{"attempt":1,"from":"armed","hash":"0xc2022aaff4d0e3a62e69f3a2ea1d225a0833b9393907f9e4ad01edd3f803c1da","to":"signed","version":4,"why":"signed intent 0xc2022aaff4d0e3a62e69f3a2ea1d225a0833b9393907f9e4ad01edd3f803c1da"}','97ebf9216c81fdd77e3abaa7a62ee7c73382139ac73246a19741f84bb7798aa0','6b53d8a084d9d0df5d2fe220b83a606cbac35f84541ef33dbbd98dc39c7557e3');
INSERT INTO "records" VALUES(7,1700000000,'change','a',NULL,'{"adopt":[],"free_nonce":false,"from":"signed","mined_block":null,"mined_hash":null,"mined_number":null,"mined_ok":null,"sent":[1],"settle":null,"successor":null,"to":"broadcast","version":5,"why":"attempt 1: accepted"}','6b53d8a084d9d0df5d2fe220b83a606cbac35f84541ef33dbbd98dc39c7557e3','c3248e0425204a076cea82b0f0b33abd9c3e0b23c3d81067bac5986ec691f699');
INSERT INTO "records" VALUES(8,1700000012,'change','a',NULL,'{"adopt":[],"free_nonce":false,"from":"broadcast","mined_block":"0x9e208ccaa7acee0b87f0743485b0d6fa43a66dd62971487080c2baff95a7ab13","mined_hash":"0xc2022aaff4d0e3a62e69f3a2ea1d225a0833b9393907f9e4ad01edd3f803c1da","mined_number":1,"mined_ok":1,"sent":[],"settle":null,"successor":null,"to":"mined","version":6,"why":"in block 1"}','c3248e0425204a076cea82b0f0b33abd9c3e0b23c3d81067bac5986ec691f699','92671c0043a9f14797a4a5bf16b85c6d7298c127cf6b35255c1e1e0748e6b35f');
INSERT INTO "records" VALUES(9,1700000780,'change','a',NULL,'{"adopt":[],"free_nonce":false,"from":"mined","mined_block":"0x9e208ccaa7acee0b87f0743485b0d6fa43a66dd62971487080c2baff95a7ab13","mined_hash":"0xc2022aaff4d0e3a62e69f3a2ea1d225a0833b9393907f9e4ad01edd3f803c1da","mined_number":1,"mined_ok":1,"sent":[],"settle":["5","69000000000000"],"successor":null,"to":"final_ok","version":7,"why":"done in block 1"}','92671c0043a9f14797a4a5bf16b85c6d7298c127cf6b35255c1e1e0748e6b35f','830ad9294c157caa7266767a9de952662d395d419e2861ca6886912069da29ec');
INSERT INTO "records" VALUES(10,1700000840,'decision','b',NULL,'{"draft":"{\"amount\":5,\"asset\":\"0xaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\",\"block\":{\"base_fee\":1000000000,\"chain_id\":31337,\"hash\":\"0x966ce8405ff97649a0d66c4de632901a4e5b29456c2888039973cb1e839eed8a\",\"number\":70,\"parent_hash\":\"0xe8f7eb6c2ee741db8c317db2a5a111690d0d5e3c3715059594b62347aca57623\",\"timestamp\":1700000840},\"decision\":\"{}\",\"gas\":100000,\"health_wad\":1050000000000000000,\"id\":\"b\",\"intent\":{\"args\":{\"amount\":5,\"effect\":2},\"chain_id\":31337,\"kind\":\"effect\",\"owner\":\"0x1111111111111111111111111111111111111111\",\"position_id\":\"position-2\",\"to\":\"0xC0Dec0dec0DeC0Dec0dEc0DEC0DEC0DEC0DEC0dE\",\"value_wei\":0},\"l1_data_fee_wei\":0,\"loss_avoided_wei\":0,\"max_cost_wei\":100000000000000000,\"max_fee_per_gas_wei\":300000000000,\"retry_of\":null,\"signer\":\"0xA9d919beBF452ECd1aAEAeFA79cA7A1C53140A93\",\"valid_until_s\":1700004440}","intent_hash":"f6cb12765f28a2701ab9dbde78eddf36c99a78e48b99951e08949dbd3fb65eba","version":1}','830ad9294c157caa7266767a9de952662d395d419e2861ca6886912069da29ec','b88ca8ec6169ef039b5af7a876207f8594811982d64e414ebca03e951b74c5f7');
INSERT INTO "records" VALUES(11,1700000840,'arm','b',NULL,'{"amount":"5","from":"planned","gas_wei":"315000000000000","nonce":1,"to":"armed","version":2,"why":"armed with nonce 1"}','b88ca8ec6169ef039b5af7a876207f8594811982d64e414ebca03e951b74c5f7','b8c905f597e6b9b98b469b1723f75f8e448fe904505e3c95e67aa1b9c0e5b869');
INSERT INTO "records" VALUES(12,1700000840,'reserve','b',NULL,'{"amount":"5","attempt":2,"from":"armed","gas_wei":"315000000000000","kind":"intent","max_fee_wei":"3150000000","tip_wei":"150000000","to":"armed","version":3,"why":""}','b8c905f597e6b9b98b469b1723f75f8e448fe904505e3c95e67aa1b9c0e5b869','24b678e5b394e81bdd2b80aa8430514107c1dd45d32931efb33e00637999f439');
INSERT INTO "records" VALUES(13,1700000840,'save','b',NULL,'{"attempt":2,"from":"armed","hash":"0xfcac3b53ca25537d2249511dc4788237e26001eb65473c8c1d6c4c5e34205504","to":"signed","version":4,"why":"signed intent 0xfcac3b53ca25537d2249511dc4788237e26001eb65473c8c1d6c4c5e34205504"}','24b678e5b394e81bdd2b80aa8430514107c1dd45d32931efb33e00637999f439','2d928e29e7493ff484f25cdef725bed7c12b1e1c9345f01704f8ab5524f697b3');
INSERT INTO "records" VALUES(14,1700000840,'change','b',NULL,'{"adopt":[],"free_nonce":false,"from":"signed","mined_block":null,"mined_hash":null,"mined_number":null,"mined_ok":null,"sent":[2],"settle":null,"successor":null,"to":"broadcast","version":5,"why":"attempt 2: accepted"}','2d928e29e7493ff484f25cdef725bed7c12b1e1c9345f01704f8ab5524f697b3','70d5c14f7830e2b47eccbec3058594940cf47f282b426113ee4568f3e9d33b97');
CREATE TABLE signers (
	chain_id BIGINT NOT NULL, 
	address VARCHAR NOT NULL, 
	next_nonce BIGINT NOT NULL, 
	PRIMARY KEY (chain_id, address)
);
INSERT INTO "signers" VALUES(31337,'0xA9d919beBF452ECd1aAEAeFA79cA7A1C53140A93',2);
CREATE TRIGGER records_no_update BEFORE UPDATE ON records BEGIN SELECT RAISE(ABORT, 'records are only ever appended'); END;
CREATE TRIGGER records_no_delete BEFORE DELETE ON records BEGIN SELECT RAISE(ABORT, 'records are only ever appended'); END;
CREATE UNIQUE INDEX one_open_action_per_position ON actions (position_id) WHERE open = 1;
CREATE INDEX actions_open ON actions (chain_id, open);
CREATE INDEX messages_pending ON messages (channel) WHERE done_s IS NULL;
CREATE INDEX ix_attempts_action_id ON attempts (action_id);
CREATE INDEX outbox_provisional ON outbox (chain_id) WHERE standing = 'provisional';
CREATE INDEX outbox_pending ON outbox (id) WHERE delivered_s IS NULL;
CREATE INDEX ix_deliveries_message_key ON deliveries (message_key);
COMMIT;
