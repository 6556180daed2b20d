#!/usr/bin/env node
// MQTT.js over WebSocket, as a web page would use it.
//
//   mqttjs.mjs list                          names of the stories
//   mqttjs.mjs URL mqttv311|mqttv5 STORY     tells one to a broker; ends with 0, or 1 and a sentence
//
// MQTT.js comes from the folder in CHASQUI_NODE, where `scripts/setup.sh node` puts it; for wss://, CHASQUI_CAFILE has the authority.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

// How long anything may take, in seconds; as in harness.py.
const PATIENCE = 1000 * Number(process.env.CHASQUI_PATIENCE ?? 20);

class Failure extends Error {}

function expect(condition, sentence) {
    if (!condition) throw new Failure(sentence);
}

// What comes of a promise, or a failure when it takes too long.
function within(promise, what) {
    let timer;
    const late = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Failure(`waited in vain for ${what}`)), PATIENCE);
    });
    return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// One session of one user, and everything it was sent, in order.
class Device {
    static async connect(mqtt, at, user, clientId, more = {}) {
        const device = new Device();
        device.inbox = [];
        device.waiting = [];
        const v5 = at.version === 5;
        const client = mqtt.connect(at.url, {
            protocolVersion: at.version,
            username: user,
            password: user,
            clientId,
            clean: false,
            reconnectPeriod: 0,
            properties: v5 ? { sessionExpiryInterval: 3600 } : undefined,
            ca: process.env.CHASQUI_CAFILE && readFileSync(process.env.CHASQUI_CAFILE),
            ...more,
        });
        device.client = client;
        client.on("message", (topic, payload, packet) => {
            device.inbox.push({ topic, payload, packet });
            device.waiting.splice(0).forEach((wake) => wake());
        });
        client.on("packetreceive", (packet) => {
            if (packet.cmd === "puback") device.puback = packet;
        });
        device.connack = await within(
            new Promise((resolve, reject) => {
                client.once("connect", resolve);
                client.once("error", (error) => reject(new Failure(`${user} was refused: ${error.message}`)));
                client.once("close", () => reject(new Failure(`${user} was cut off before CONNACK`)));
            }),
            `CONNACK for ${user}`,
        );
        // Whatever else happens shows in what the story waits for.
        client.on("error", () => {});
        return device;
    }

    async subscribe(filter, qos = 1) {
        const [granted] = await within(this.client.subscribeAsync(filter, { qos }), `SUBACK of ${filter}`);
        expect(granted.qos === qos, `${filter} was granted ${granted.qos}`);
    }

    // Publishes, and waits for the acknowledgement; a PUBACK is in `puback` then.
    publish(topic, payload, options = { qos: 1 }) {
        return within(this.client.publishAsync(topic, payload, options), `the acknowledgement of ${topic}`);
    }

    // The first message that satisfies `where`.
    async receive(where, what) {
        const looking = async () => {
            for (;;) {
                const found = this.inbox.find(where);
                if (found) return found;
                await new Promise((wake) => this.waiting.push(wake));
            }
        };
        return within(looking(), what);
    }

    end(force = false) {
        return within(this.client.endAsync(force), "the end of the connection");
    }
}

const text = (message) => JSON.parse(message.payload).message?.body?.text;

const stories = {
    // Alice sends while bob is away; bob has it once, with its number, and alice hears that it was delivered.
    async chat_and_delivered(mqtt, at) {
        let bob = await Device.connect(mqtt, at, "bob", "phone");
        await bob.subscribe("json/u/bob/in");
        await bob.end();
        const alice = await Device.connect(mqtt, at, "alice", "laptop");
        await alice.subscribe("json/u/alice/receipts/#");
        await alice.publish("json/u/bob/send", JSON.stringify({ body: { text: "hello" } }));
        if (at.version === 5) {
            expect(alice.puback.properties?.userProperties?.seq === "1", "the PUBACK does not carry the number");
        }
        bob = await Device.connect(mqtt, at, "bob", "phone");
        expect(bob.connack.sessionPresent, "bob's session is gone");
        const message = await bob.receive((m) => text(m) === "hello", "hello");
        expect(JSON.parse(message.payload).message.seq === "1", "the message does not carry its number");
        await alice.receive((m) => JSON.parse(m.payload).delivered === "1", "the receipt");
        await bob.end();
        await alice.end();
    },

    // Every QoS, small and large, with retained messages and, on 5.0, properties.
    async generic_topics(mqtt, at) {
        const writer = await Device.connect(mqtt, at, "carol", "writer");
        const reader = await Device.connect(mqtt, at, "dave", "reader");
        await reader.subscribe("garden/#", 2);
        for (const qos of [0, 1, 2]) {
            for (const bytes of [1, 126, 70_000]) {
                const payload = Buffer.alloc(bytes, qos + 1);
                const properties = at.version === 5 ? { userProperties: { n: `${bytes}` } } : undefined;
                await writer.publish(`garden/${qos}/${bytes}`, payload, { qos, retain: true, properties });
                const got = await reader.receive((m) => m.topic === `garden/${qos}/${bytes}`, `${bytes} bytes, QoS ${qos}`);
                expect(got.payload.equals(payload), `${bytes} bytes came changed`);
                expect(got.packet.qos === qos && !got.packet.retain, "it came with other flags");
                if (properties) expect(got.packet.properties.userProperties.n === `${bytes}`, "the user property is gone");
            }
        }
        const late = await Device.connect(mqtt, at, "erin", "late");
        await late.subscribe("garden/+/126", 1);
        for (const qos of [0, 1, 2]) {
            const got = await late.receive((m) => m.topic === `garden/${qos}/126`, "a retained message");
            expect(got.packet.retain, "it is not marked as retained");
        }
        await Promise.all([writer.end(), reader.end(), late.end()]);
    },

    // A page that is closed says no goodbye: its will is published.
    async will_of_a_page_that_is_closed(mqtt, at) {
        const watcher = await Device.connect(mqtt, at, "carol", "watcher");
        await watcher.subscribe("wills/#");
        const will = { topic: "wills/page", payload: Buffer.from("gone"), qos: 1 };
        const page = await Device.connect(mqtt, at, "dave", "page", { will });
        page.client.stream.destroy();
        const got = await watcher.receive((m) => m.topic === "wills/page", "the will");
        expect(got.payload.toString() === "gone", "the will came changed");
        await watcher.end();
    },

    // Who may not come in hears why.
    async a_wrong_password_is_refused(mqtt, at) {
        try {
            await Device.connect(mqtt, at, "alice", "laptop", { password: "guess" });
        } catch (error) {
            expect(/refused: .*(authori|bad user|malformed)/i.test(error.message), error.message);
            return;
        }
        throw new Failure("a wrong password was let in");
    },
};

const [url, version, name] = process.argv.slice(2);
if (url === "list") {
    console.log(Object.keys(stories).join("\n"));
} else {
    const require = createRequire(join(process.env.CHASQUI_NODE ?? import.meta.dirname, "package.json"));
    try {
        expect(stories[name], `there is no story '${name}': see 'mqttjs.mjs list'`);
        await stories[name](require("mqtt").default ?? require("mqtt"), { url, version: version === "mqttv5" ? 5 : 4 });
        process.exit(0);
    } catch (error) {
        console.error(error instanceof Failure ? error.message : error.stack);
        process.exit(1);
    }
}
