//! The plugin `auth_jwt`: the password is a signed token (RFC 7519) that says who the client is.
//!
//! One algorithm is accepted, the configured one, whatever the token says of itself; never `none`.
//! What a token grants is kept in `grants.rs`. Its key comes from `jwt_key.rs`.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::crypto::verify;
use jsonwebtoken::{DecodingKey, decode_header};
use serde_json::{Map, Value};
use tracing::debug;

use super::{
    Action, Authenticate, ConnectRequest, Grants, JwtAlgorithm, JwtKey, JwtKeyError, Pattern,
    Proof, Refusal, Verdict, said,
};

/// How tokens are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtSettings {
    /// How they are signed.
    pub algorithm: JwtAlgorithm,
    /// What the signature is checked with.
    pub key: JwtKey,
    /// The claim that is the user name.
    pub user_claim: String,
    /// Who the claim `aud` must name; none: there must be no such claim.
    pub audience: Option<String>,
    /// What the claim `iss` must be; none: anything.
    pub issuer: Option<String>,
    /// The claims that list topic filters.
    pub topics: TopicClaims,
}

/// The claims that list what the client may do; none: tokens say nothing about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicClaims {
    /// Where it may publish.
    pub publish: Option<String>,
    /// What it may subscribe to.
    pub subscribe: Option<String>,
    /// What it may be sent.
    pub receive: Option<String>,
}

impl TopicClaims {
    /// The claim for an action.
    pub fn of(&self, action: Action) -> Option<&str> {
        match action {
            Action::Publish => self.publish.as_deref(),
            Action::Subscribe => self.subscribe.as_deref(),
            Action::Receive => self.receive.as_deref(),
        }
    }
}

/// Checks tokens.
#[derive(Clone)]
pub struct Jwt {
    settings: Arc<JwtSettings>,
    key: DecodingKey,
}

/// Why a token is refused; for logs.
#[derive(Debug, thiserror::Error)]
enum Flaw {
    #[error("it is not well formed")]
    Form,
    /// What the library says of it repeats what the client wrote.
    #[error("its header or its claims cannot be read")]
    Library(#[from] jsonwebtoken::errors::Error),
    #[error("it is signed in another way")]
    Algorithm,
    #[error("its signature is wrong")]
    Signature,
    #[error("its header asks for something that is not understood")]
    Critical,
    #[error("the claim `{0}` is not what it should be")]
    Claim(&'static str),
    #[error("it is expired")]
    Expired,
    #[error("it is not valid yet")]
    Early,
    #[error("it names no user")]
    NoUser,
}

impl Jwt {
    /// With these settings. Reads the key's file, if that is in one.
    ///
    /// # Errors
    /// The key cannot be used.
    pub fn open(settings: &JwtSettings) -> Result<Jwt, JwtKeyError> {
        // With two in one program the library would choose none. It fails if somebody else chose.
        let _ = DEFAULT_PROVIDER.install_default();
        let key = settings.key.open(settings.algorithm)?;
        Ok(Jwt { settings: Arc::new(settings.clone()), key })
    }

    /// Who the bearer of a token is at that time.
    fn read(&self, token: &[u8], date: Duration) -> Result<Proof, Flaw> {
        let claims = self.claims(token)?;
        self.check_time(&claims, date)?;
        self.check_parties(&claims)?;
        let user = claims.get(&self.settings.user_claim).and_then(Value::as_str);
        let user = user.filter(|user| !user.is_empty() && !user.contains('\0'));
        let user = Arc::from(user.ok_or(Flaw::NoUser)?);
        Ok(Proof { user, grants: self.grants(&claims) })
    }

    /// The claims of a token with a good signature. Nothing else is checked here. RFC 7515,
    /// section 5.2.
    fn claims(&self, token: &[u8]) -> Result<Map<String, Value>, Flaw> {
        let token = std::str::from_utf8(token).map_err(|_| Flaw::Form)?;
        let (signed, signature) = token.rsplit_once('.').ok_or(Flaw::Form)?;
        let (_, body) = signed.split_once('.').ok_or(Flaw::Form)?;
        let header = decode_header(token)?;
        let algorithm = self.settings.algorithm.algorithm();
        if header.alg != algorithm {
            return Err(Flaw::Algorithm);
        }
        if header.crit.is_some() {
            return Err(Flaw::Critical);
        }
        if !verify(signature, signed.as_bytes(), &self.key, algorithm)? {
            return Err(Flaw::Signature);
        }
        let body = URL_SAFE_NO_PAD.decode(body).map_err(|_| Flaw::Form)?;
        serde_json::from_slice(&body).map_err(|_| Flaw::Form)
    }

    fn check_time(&self, claims: &Map<String, Value>, date: Duration) -> Result<(), Flaw> {
        let date = date.as_secs_f64();
        let seconds = |name| match claims.get(name).map(Value::as_f64) {
            Some(None) => Err(Flaw::Claim(name)),
            Some(seconds) => Ok(seconds),
            None => Ok(None),
        };
        if seconds("exp")?.is_some_and(|end| end <= date) {
            return Err(Flaw::Expired);
        }
        if seconds("nbf")?.is_some_and(|begin| begin > date) {
            return Err(Flaw::Early);
        }
        Ok(())
    }

    fn check_parties(&self, claims: &Map<String, Value>) -> Result<(), Flaw> {
        let is_for = |audience: &str| match claims.get("aud") {
            Some(Value::String(named)) => named == audience,
            Some(Value::Array(named)) => named.iter().any(|named| named == audience),
            _ => false,
        };
        let is_right = match &self.settings.audience {
            Some(audience) => is_for(audience),
            // A token for others is not for everybody. RFC 7519, section 4.1.3.
            None => claims.get("aud").is_none_or(Value::is_null),
        };
        if !is_right {
            return Err(Flaw::Claim("aud"));
        }
        let issuer = self.settings.issuer.as_deref();
        if issuer.is_some_and(|issuer| claims.get("iss").and_then(Value::as_str) != Some(issuer)) {
            return Err(Flaw::Claim("iss"));
        }
        Ok(())
    }

    /// What it grants, if tokens are asked for that. What is no topic filter grants nothing.
    fn grants(&self, claims: &Map<String, Value>) -> Option<Arc<Grants>> {
        let topics = &self.settings.topics;
        let mut grants = Grants::default();
        let mut is_asked = false;
        for action in Action::ALL {
            let Some(name) = topics.of(action) else { continue };
            is_asked = true;
            let filters = match claims.get(name) {
                Some(Value::Array(filters)) => filters.iter().filter_map(Value::as_str).collect(),
                Some(Value::String(filter)) => vec![filter.as_str()],
                _ => Vec::new(),
            };
            let patterns = filters.into_iter().filter_map(|text| Pattern::literal(text).ok());
            patterns.for_each(|pattern| grants.add(action, pattern));
        }
        is_asked.then(|| Arc::new(grants))
    }
}

impl Authenticate for Jwt {
    /// Everybody needs a token, as in amqtt.
    async fn authenticate(&self, request: &ConnectRequest) -> Verdict {
        let user = request.username.as_deref().filter(|user| !user.is_empty());
        let refused = Verdict::Refused(match user {
            Some(_) => Refusal::BadCredentials,
            None => Refusal::NotAuthorized,
        });
        let Some(token) = &request.password else { return refused };
        match self.read(token, request.date) {
            Ok(proof) if user.is_none_or(|user| *user == *proof.user) => Verdict::Identified(proof),
            Ok(_) => {
                let client_id = &*said(&request.client_id);
                debug!(client_id, reason = "another user's", "token refused");
                refused
            }
            Err(flaw) => {
                let client_id = &*said(&request.client_id);
                debug!(client_id, reason = %flaw, "token refused");
                refused
            }
        }
    }
}

impl std::fmt::Debug for Jwt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jwt").field("settings", &self.settings).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
    use serde_json::json;

    use super::super::Secret;
    use super::super::authenticate::tests::{now, request};
    use super::*;

    const SECRET: &str = "a secret of two and thirty bytes";
    /// When the tests take place.
    const DATE: u64 = 1_700_000_000;

    fn plugin(change: impl FnOnce(&mut JwtSettings)) -> Jwt {
        let mut settings = JwtSettings {
            algorithm: JwtAlgorithm::DEFAULT,
            key: JwtKey::Here(Secret::new(SECRET)),
            user_claim: "sub".to_owned(),
            audience: None,
            issuer: None,
            topics: TopicClaims::default(),
        };
        change(&mut settings);
        Jwt::open(&settings).expect("a good key")
    }

    fn signed(header: &Header, claims: &Value, secret: &str) -> String {
        encode(header, claims, &EncodingKey::from_secret(secret.as_bytes())).expect("a token")
    }

    fn token(claims: &Value) -> String {
        signed(&Header::new(Algorithm::HS256), claims, SECRET)
    }

    fn ask(plugin: &Jwt, user: Option<&str>, token: Option<&str>) -> Verdict {
        let mut request = request(user, token);
        request.date = Duration::from_secs(DATE);
        now(plugin.authenticate(&request))
    }

    fn is_ann(verdict: &Verdict) -> bool {
        matches!(verdict, Verdict::Identified(proof) if &*proof.user == "ann")
    }

    #[test]
    fn a_token_says_who_its_bearer_is_in_its_time() {
        let plugin = plugin(|_| {});
        for (claims, is_good) in [
            (json!({"sub": "ann"}), true),
            (json!({"sub": "ann", "exp": DATE + 1, "nbf": DATE}), true),
            (json!({"sub": "ann", "exp": DATE as f64 + 0.5}), true),
            (json!({"sub": "ann", "exp": DATE}), false),
            (json!({"sub": "ann", "exp": DATE - 1_000_000}), false),
            (json!({"sub": "ann", "exp": -1}), false),
            (json!({"sub": "ann", "exp": (DATE + 1).to_string()}), false),
            (json!({"sub": "ann", "exp": null}), false),
            (json!({"sub": "ann", "nbf": DATE + 1}), false),
            (json!({"sub": "ann", "nbf": "soon"}), false),
            (json!({"sub": "ann", "iss": ["it"], "iat": "now", "jti": 7}), true),
            (json!({"sub": "bob"}), false),
            (json!({"sub": ""}), false),
            (json!({"sub": 7}), false),
            (json!({"sub": ["ann"]}), false),
            (json!({}), false),
            (json!({"name": "ann"}), false),
            (json!({"sub": "ann", "aud": "others"}), false),
            (json!(["ann"]), false),
        ] {
            let verdict = ask(&plugin, Some("ann"), Some(&token(&claims)));
            assert_eq!(is_ann(&verdict), is_good, "{claims}: {verdict:?}");
        }
        let good = token(&json!({"sub": "ann"}));
        assert!(is_ann(&ask(&plugin, None, Some(&good))), "the token says it");
        assert_eq!(ask(&plugin, None, None), Verdict::Refused(Refusal::NotAuthorized));
        let bad = Verdict::Refused(Refusal::BadCredentials);
        assert_eq!(ask(&plugin, Some("ann"), None), bad);
        assert_eq!(ask(&plugin, Some("bob"), Some(&good)), bad);
    }

    #[test]
    fn audience_and_issuer_must_be_right_where_they_are_configured() {
        let plugin = plugin(|settings| {
            (settings.audience, settings.issuer) = (Some("us".to_owned()), Some("it".to_owned()));
        });
        for (claims, is_good) in [
            (json!({"sub": "ann", "aud": "us", "iss": "it"}), true),
            (json!({"sub": "ann", "aud": ["them", "us"], "iss": "it"}), true),
            (json!({"sub": "ann", "aud": "them", "iss": "it"}), false),
            (json!({"sub": "ann", "aud": [], "iss": "it"}), false),
            (json!({"sub": "ann", "iss": "it"}), false),
            (json!({"sub": "ann", "aud": "us", "iss": "other"}), false),
            (json!({"sub": "ann", "aud": "us", "iss": ["it"]}), false),
            (json!({"sub": "ann", "aud": "us", "iss": 7}), false),
            (json!({"sub": "ann", "aud": "us"}), false),
        ] {
            assert_eq!(
                is_ann(&ask(&plugin, Some("ann"), Some(&token(&claims)))),
                is_good,
                "{claims}"
            );
        }
    }

    #[test]
    fn a_token_that_is_not_signed_as_configured_is_refused() {
        let plugin = plugin(|_| {});
        let claims = json!({"sub": "ann"});
        let good = token(&claims);
        let (signed_part, signature) = good.rsplit_once('.').expect("three parts");
        let (head, body) = signed_part.split_once('.').expect("three parts");
        let base64 = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let none = base64(r#"{"alg":"none","typ":"JWT"}"#);
        let critical =
            Header { crit: Some(vec!["exp".to_owned()]), ..Header::new(Algorithm::HS256) };
        let flipped = match signature.as_bytes()[0] {
            b'A' => format!("B{}", &signature[1..]),
            _ => format!("A{}", &signature[1..]),
        };
        for bad in [
            signed(&Header::new(Algorithm::HS256), &claims, "another secret"),
            signed(&Header::new(Algorithm::HS512), &claims, SECRET),
            signed(&critical, &claims, SECRET),
            format!("{none}.{body}."),
            format!("{none}.{body}.{signature}"),
            format!("{none}.{body}"),
            format!("{head}.{body}."),
            format!("{head}.{body}.{flipped}"),
            format!("{head}.{}.{signature}", base64(r#"{"sub":"bob"}"#)),
            format!("{good}.x"),
            format!(" {good}"),
            String::new(),
            ".".to_owned(),
            "..".to_owned(),
            "ä".to_owned(),
            "x".repeat(65_535),
        ] {
            let verdict = ask(&plugin, Some("ann"), Some(&bad));
            assert_eq!(verdict, Verdict::Refused(Refusal::BadCredentials), "{bad:.60}");
        }
        assert!(is_ann(&ask(&plugin, Some("ann"), Some(&good))), "the others differ from it");
        let mut binary = request(Some("ann"), None);
        binary.password = Some(Bytes::from_static(b"\xff\0.\x80."));
        assert_eq!(now(plugin.authenticate(&binary)), Verdict::Refused(Refusal::BadCredentials));
    }

    /// Signs as a signer would who has the private key.
    fn public(
        algorithm: &str,
        pair: &rcgen::KeyPair,
        encoding: impl Fn(&[u8]) -> EncodingKey,
    ) -> (Jwt, String) {
        let name = JwtAlgorithm::named(algorithm).expect("known");
        let plugin = plugin(|settings| {
            settings.algorithm = name;
            settings.key = JwtKey::Here(Secret::new(&pair.public_key_pem()));
        });
        let header = Header::new(name.algorithm());
        let key = encoding(pair.serialized_der());
        (plugin, encode(&header, &json!({"sub": "ann"}), &key).expect("a token"))
    }

    #[test]
    fn tokens_may_be_signed_with_private_keys() {
        let make = |algorithm| rcgen::KeyPair::generate_for(algorithm).expect("a key");
        for (algorithm, kind, encoding) in [
            (
                "ES256",
                &rcgen::PKCS_ECDSA_P256_SHA256,
                EncodingKey::from_ec_der as fn(&[u8]) -> EncodingKey,
            ),
            ("ES384", &rcgen::PKCS_ECDSA_P384_SHA384, EncodingKey::from_ec_der),
            ("EdDSA", &rcgen::PKCS_ED25519, EncodingKey::from_ed_der),
        ] {
            let (plugin, token) = public(algorithm, &make(kind), encoding);
            assert!(is_ann(&ask(&plugin, Some("ann"), Some(&token))), "{algorithm}");
            let (other, _) = public(algorithm, &make(kind), encoding);
            let verdict = ask(&other, Some("ann"), Some(&token));
            assert_eq!(verdict, Verdict::Refused(Refusal::BadCredentials), "{algorithm}");
        }
    }

    /// A public key that OpenSSL made, and two tokens that it signed with the private one.
    const RSA: &str = "-----BEGIN PUBLIC KEY-----\n\
        MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEArHb897rKLUX7FkRmHzoF\n\
        x/JzDY0gBnZqp/JJxMbIGDk/5KjNmM2qSf5g3Arc7zbwsID/BiK7yySdAXC/Ld4x\n\
        5QV978CvYOck1HV7Ffgdjdho0kOVNueKI2UUordmy9UHUIxuqxZk03fGhVbh2lTC\n\
        hL5o1JhyFQcJsW79bRZQJk9LXQTozpDuBbZegdXGR69QXsyR2w83bEyR1uRo5Mcy\n\
        aIrvZW/rw4Jb3ZTaszmJGwXV3sUaczpi62L1iySWFPbBhv0YdBm9ZCM0sNnzaTRW\n\
        gzeA2Ow6diE9TSoXOxIUwqAmVZmOJ7o4JXqmg2DT6tOT3Ra0iWYkFfMhDLOoKxEQ\n\
        jQIDAQAB\n\
        -----END PUBLIC KEY-----";
    const RS256: &str = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.QT8VpYTmu3QErpNwFhxXCz9D1m1YJmB4L935DInwd2j0\
        82uZnbvbBYlbNHG-BdIfY6y1dgwJ8lKRhquhypJeA_gNoqJASEzFofL1tUhQAmoCdK0gfGsBlTjBwf2-J_l5\
        j9RgAR_HFaT9rdwXgVjJ_CSiSaqqNicFgO5V_hnnO0QOhbPDFkmg1Ch4UK8YnsFFNyvOYvZP9MR6QXfkc1HB\
        bk_8wC4c9Wopnq3eaP9RCh-XKNmQex3xgOYmrM_YWand01cxc3ZLT9tjc_jDhAiJa19mSgqYYPi9gZzgQqOC\
        F5zt5jLoq4i_C7R9rdUEfrbllmL1h_T42x_OL4aZKbP5qQ";
    const PS256: &str = "eyJhbGciOiJQUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.gnM1AhHt4WVQpsj8C2UyVew0fqiIR7jJ6xrIp4h8gaIe\
        4F_3poU0z7av7MGU9dTE1JS2CgTWYGQlAnG8dZFsEeDZLBeoJS-tubUHmCnMBvKmwitP7EIOE3iM9RhUGCLb\
        3Kl0h7jJ3UTIot43DRwPIL4UoUJSLgIIuwd_MdW6wmBa2zTxumMUb_d6HfNeC1JI5mqGPX3R7jlNR3K2WB6q\
        EqCBSc3rAW9mzu0ecHr2NcvjchQ6B7E_GtkG4umPQ2xhNcb63M1dvRhAJevvf_0v0xJd7s8eGi5G6sdxAV_1\
        CGRZJfLaXrAi-owBv1ZefxTbVbhG-MK3VKOy8b6yYqKZvQ";

    #[test]
    fn tokens_may_be_signed_with_rsa_and_each_algorithm_is_one_of_its_own() {
        for (algorithm, wants) in [("RS256", [true, false]), ("PS256", [false, true])] {
            let plugin = plugin(|settings| {
                settings.algorithm = JwtAlgorithm::named(algorithm).expect("known");
                settings.key = JwtKey::Here(Secret::new(RSA));
            });
            for (token, want) in [RS256, PS256].into_iter().zip(wants) {
                let verdict = ask(&plugin, Some("ann"), Some(token));
                assert_eq!(is_ann(&verdict), want, "{algorithm} {token:.30}");
            }
        }
    }

    /// Who knows the public key alone cannot make a token of the kind that takes a secret.
    #[test]
    fn a_public_key_is_no_secret() {
        let pair = rcgen::KeyPair::generate().expect("a key");
        let (plugin, _) = public("ES256", &pair, EncodingKey::from_ec_der);
        let claims = json!({"sub": "ann"});
        for forged in [
            signed(&Header::new(Algorithm::HS256), &claims, &pair.public_key_pem()),
            signed(&Header::new(Algorithm::HS256), &claims, pair.public_key_pem().trim_end()),
        ] {
            let verdict = ask(&plugin, Some("ann"), Some(&forged));
            assert_eq!(verdict, Verdict::Refused(Refusal::BadCredentials));
        }
    }

    #[test]
    fn a_token_grants_the_filters_that_it_lists() {
        let topics = TopicClaims {
            publish: Some("pub".to_owned()),
            subscribe: Some("sub".to_owned()),
            receive: None,
        };
        let plugin = plugin(|settings| {
            (settings.topics, settings.user_claim) = (topics, "name".to_owned());
        });
        let claims = json!({"name": "ann", "pub": ["a/#", "b#", 7], "sub": "c"});
        let Verdict::Identified(proof) = ask(&plugin, None, Some(&token(&claims))) else {
            panic!("it is a good token");
        };
        let mut want = Grants::default();
        want.add(Action::Publish, Pattern::literal("a/#").expect("a filter"));
        want.add(Action::Subscribe, Pattern::literal("c").expect("a filter"));
        assert_eq!(proof.grants.as_deref(), Some(&want));
        let Verdict::Identified(proof) = ask(&plugin, None, Some(&token(&json!({"name": "ann"}))))
        else {
            panic!("it is a good token");
        };
        assert_eq!(proof.grants.as_deref(), Some(&Grants::default()), "nothing is granted");
    }
}
