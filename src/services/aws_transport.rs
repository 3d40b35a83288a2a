//! The HTTP transport of the AWS SDKs: hyper's, with limits of our own for each attempt. The SDKs repeat an attempt that runs
//! into a limit.
//!
//! **Limits.** The read timeout of the SDKs counts from the start of a request, its body included, so it would end every
//! long upload. Here an upload ends when no byte of its body has moved for a while. A byte has moved when the system has
//! taken it to be sent; the system holds at most a few MB that were not sent yet.
//!
//! **Connections.** A first attempt takes a connection from a pool; a later one gets a connection of its own ("Performance
//! design patterns for Amazon S3", Amazon S3 User Guide). A connection that fails, also in the middle of a body, takes its
//! pool with it, see `renewable.rs`. An unused connection is closed before S3 closes it: a request that meets the end of its connection fails.

use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::{Connector, tls};
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use exact_cut::deadline::TimedOut;
use tokio::time::{sleep_until, timeout};

use crate::error::Error;
use crate::services::aws_bodies::{Download, Progress, Upload};
use crate::services::limits::{CONNECT, FIRST_BYTE, IDLE, PACE, Pace, UPLOAD_STALL};
use crate::services::renewable::Renewable;

/// The SDKs number the attempts of a request in it: `attempt=2; max=3`.
const ATTEMPT_HEADER: &str = "amz-sdk-request";

/// Limits of an attempt and of its connection.
#[derive(Clone, Copy, Debug)]
pub struct AttemptLimits {
    /// From the start of an attempt to the first byte of its answer. Uploads have no such limit.
    pub first_byte: Duration,
    /// How fast the body of an answer must arrive.
    pub pace: Pace,
    /// How long no byte of an upload may move.
    pub upload_stall: Duration,
    /// How long a connection may be unused.
    pub idle: Duration,
}

impl Default for AttemptLimits {
    fn default() -> Self {
        Self { first_byte: FIRST_BYTE, pace: PACE, upload_stall: UPLOAD_STALL, idle: IDLE }
    }
}

/// Returns a client for all SDKs of the process.
///
/// # Errors
/// Never, as long as making a connector cannot fail.
pub fn http_client(limits: AttemptLimits) -> Result<SharedHttpClient, Error> {
    let pooled = Renewable::new(move || Ok(connector(limits.idle, None)))?;
    Ok(SharedHttpClient::new(Transport(Arc::new(Inner { limits, pooled, unpooled: OnceLock::new() }))))
}

#[derive(Clone, Debug)]
struct Transport(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limits: AttemptLimits,
    pooled: Renewable<SharedHttpConnector>,
    /// Makes a connection for each request.
    unpooled: OnceLock<SharedHttpConnector>,
}

/// Returns a connector that keeps unused connections for `idle`, and at most `max_idle` of them to each host.
fn connector(idle: Duration, max_idle: Option<usize>) -> SharedHttpConnector {
    let mut builder = Connector::builder()
        .connector_settings(HttpConnectorSettings::builder().connect_timeout(CONNECT).build())
        .proxy_config(ProxyConfig::from_env())
        .pool_idle_timeout(idle);
    builder.set_pool_max_idle_per_host(max_idle);
    let tls = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc);
    SharedHttpConnector::new(builder.tls_provider(tls).build())
}

impl HttpClient for Transport {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        Some(ConnectorMetadata::new("hyper", Some("1.x".into())))
    }
}

impl HttpConnector for Transport {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let inner = Arc::clone(&self.0);
        HttpConnectorFuture::new(async move {
            let pace = inner.limits.pace;
            if is_repeated(&request) {
                let unpooled = inner.unpooled.get_or_init(|| connector(inner.limits.idle, Some(0)));
                let answer = inner.attempt(unpooled, request).await?;
                return Ok(received(answer, pace, || {}));
            }
            let (pooled, generation) = inner.pooled.get();
            let answer = inner.attempt(&pooled, request).await;
            let renew = move || inner.pooled.renew(generation);
            match answer {
                Ok(answer) => Ok(received(answer, pace, renew)),
                Err(error) => {
                    renew();
                    Err(error)
                }
            }
        })
    }
}

/// Returns an answer whose body must keep `pace`, and calls `failed` if it does not come to its end.
fn received(mut answer: HttpResponse, pace: Pace, failed: impl Fn() + Send + Sync + Unpin + 'static) -> HttpResponse {
    let body = Download::new(answer.take_body(), pace, failed);
    *answer.body_mut() = SdkBody::from_body_1_x(body);
    answer
}

impl Inner {
    async fn attempt(
        &self,
        connector: &SharedHttpConnector,
        mut request: HttpRequest,
    ) -> Result<HttpResponse, ConnectorError> {
        if request.method() != "PUT" {
            let after = self.limits.first_byte;
            let answer = timeout(after, connector.call(request)).await;
            return answer.unwrap_or_else(|_| Err(ConnectorError::timeout(TimedOut { after }.into())));
        }
        let progress = Progress::new();
        let body = Upload::new(request.take_body(), progress.clone());
        *request.body_mut() = SdkBody::from_body_1_x(body);
        let mut answer = pin!(connector.call(request));
        let after = self.limits.upload_stall;
        loop {
            let end = progress.last() + after;
            tokio::select! {
                answer = &mut answer => return answer,
                () = sleep_until(end) => {}
            }
            if progress.last() + after <= end {
                return Err(ConnectorError::timeout(Stalled { after }.into()));
            }
        }
    }
}

/// No byte of an upload has moved.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("no byte of the upload has moved for {} ms", after.as_millis())]
struct Stalled {
    after: Duration,
}

fn is_repeated(request: &HttpRequest) -> bool {
    let header = request.headers().get(ATTEMPT_HEADER).unwrap_or_default();
    let attempt = header.split(';').find_map(|part| part.trim().strip_prefix("attempt="));
    attempt.is_some_and(|attempt| attempt != "1")
}
