//! Packets as bytes, good and bad, by hand: nothing of the broker's own encoder.

/// A protocol level: 4 is MQTT 3.1.1, 5 is 5.0.
pub(crate) type Level = u8;

pub(crate) const BOTH: [Level; 2] = [4, 5];

/// A variable byte integer.
pub(crate) fn varint(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number % 128) as u8;
        number /= 128;
        bytes.push(if number > 0 { low | 0x80 } else { low });
        if number == 0 {
            return bytes;
        }
    }
}

/// A fixed header and all that follows it.
pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    [&[first], &varint(body.len())[..], body].concat()
}

/// Text or binary data with its length.
pub(crate) fn data(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    let length = u16::try_from(bytes.len()).unwrap();
    [&length.to_be_bytes()[..], bytes].concat()
}

/// A list of properties with its length; nothing before 5.0.
pub(crate) fn properties(level: Level, list: &[u8]) -> Vec<u8> {
    if level < 5 { Vec::new() } else { [&varint(list.len())[..], list].concat() }
}

/// CONNECT with everything that may vary.
pub(crate) struct Connect {
    pub(crate) level: Level,
    pub(crate) flags: u8,
    pub(crate) keep_alive: u16,
    pub(crate) properties: Vec<u8>,
    /// All after the properties.
    pub(crate) payload: Vec<u8>,
}

impl Connect {
    /// A clean one.
    pub(crate) fn new(level: Level, client_id: &str) -> Connect {
        let payload = data(client_id);
        Connect { level, flags: 0x02, keep_alive: 60, properties: Vec::new(), payload }
    }

    /// With a user name and a password. The payload has to be whole but for these.
    pub(crate) fn by(mut self, user: Option<&str>, password: Option<&str>) -> Connect {
        self.flags |= u8::from(user.is_some()) << 7 | u8::from(password.is_some()) << 6;
        for text in [user, password].into_iter().flatten() {
            self.payload.extend(data(text));
        }
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut body = data("MQTT");
        body.extend([self.level, self.flags]);
        body.extend(self.keep_alive.to_be_bytes());
        body.extend(properties(self.level, &self.properties));
        body.extend(&self.payload);
        packet(0x10, &body)
    }
}

/// PUBLISH at QoS 0 if the id is 0, else at QoS 1.
pub(crate) fn publish(level: Level, topic: &str, id: u16, payload: &[u8]) -> Vec<u8> {
    let first = if id == 0 { 0x30 } else { 0x32 };
    publish_as(first, level, topic.as_bytes(), id, &[], payload)
}

/// Any PUBLISH.
pub(crate) fn publish_as(
    first: u8,
    level: Level,
    topic: &[u8],
    id: u16,
    list: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let mut body = data(topic);
    if first & 0x06 != 0 {
        body.extend(id.to_be_bytes());
    }
    body.extend(properties(level, list));
    body.extend(payload);
    packet(first, &body)
}

/// SUBSCRIBE to one filter at QoS 1.
pub(crate) fn subscribe(level: Level, filter: impl AsRef<[u8]>) -> Vec<u8> {
    let mut body = vec![0, 9];
    body.extend(properties(level, &[]));
    body.extend(data(filter));
    body.push(1);
    packet(0x82, &body)
}

/// UNSUBSCRIBE from one filter.
pub(crate) fn unsubscribe(level: Level, filter: impl AsRef<[u8]>) -> Vec<u8> {
    let mut body = vec![0, 9];
    body.extend(properties(level, &[]));
    body.extend(data(filter));
    packet(0xA2, &body)
}
