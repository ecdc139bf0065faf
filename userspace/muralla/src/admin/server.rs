//! The answering end of the admin socket.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use hyper::body::Frame;
use muralla_edge::offenders::Offence;
use muralla_mail::operators::{DestinationsForm, MessageForm, QueueForm};
use muralla_radius::report::RefusalFilter;
use muralla_radius::tail::Filter;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::api::{
    BlockForm, Canary, ChangeForm, CloseForm, CustomerSeen, DeadLettersForm, FlushForm, LimitsForm,
    LookupForm, PONG, PrefixForm, QueryLine, QueueChange, Refusal, SessionsForm, TestForm,
    TraceForm, ZoneForm,
};
use crate::daemon::{Daemon, Refused, blocking};
use crate::following::{self, encode};

/// Largest body of a request.
const LARGEST_BODY: usize = 64 << 10;

/// Largest body of a report.
const LARGEST_REPORT: usize = 4 << 10;

type Shared = State<Arc<Daemon>>;

/// The routes, all below `/v1`.
pub(crate) fn router(daemon: Arc<Daemon>) -> Router {
    Router::new()
        .route("/v1/ping", get(ping))
        .route(
            "/v1/roles",
            get(async |State(daemon): Shared| Json(daemon.roles().iter().collect::<Vec<_>>())),
        )
        .route(
            "/v1/dns/status",
            get(async |State(daemon): Shared| answer(&daemon, Daemon::dns_status).await),
        )
        .route("/v1/dns/canary", get(canary))
        .route(
            "/v1/dns/lookup",
            post(async |State(daemon): Shared, Form(form): Form<LookupForm>| {
                respond(daemon.lookup(form).await)
            }),
        )
        .route(
            "/v1/dns/flush",
            post(async |State(daemon): Shared, Form(form): Form<FlushForm>| {
                answer(&daemon, move |d| d.flush(&form)).await
            }),
        )
        .route(
            "/v1/dns/zones",
            get(async |State(daemon): Shared| answer(&daemon, Daemon::zones).await),
        )
        .route(
            "/v1/dns/zones/reload",
            post(async |State(daemon): Shared, Form(form): Form<ZoneForm>| {
                answer(&daemon, move |d| d.reload_zones(&form)).await
            }),
        )
        .route("/v1/dns/queries", get(queries))
        .route(
            "/v1/radius/status",
            get(async |State(daemon): Shared| answer(&daemon, Daemon::radius_status).await),
        )
        .route(
            "/v1/radius/sessions",
            get(async |State(daemon): Shared, Query(form): Query<SessionsForm>| {
                answer(&daemon, move |d| d.sessions(&form)).await
            }),
        )
        .route(
            "/v1/radius/sessions/change",
            post(async |State(daemon): Shared, Form(form): Form<ChangeForm>| {
                respond(daemon.change_sessions(form).await)
            }),
        )
        .route(
            "/v1/radius/sessions/close",
            post(async |State(daemon): Shared, Form(form): Form<CloseForm>| {
                respond(daemon.close_session(form).await)
            }),
        )
        .route(
            "/v1/radius/test",
            post(async |State(daemon): Shared, Form(form): Form<TestForm>| {
                respond(daemon.test_user(form).await)
            }),
        )
        .route(
            "/v1/radius/dead-letters",
            get(async |State(daemon): Shared| respond(daemon.dead_letters().await)),
        )
        .route(
            "/v1/radius/dead-letters/retry",
            post(async |State(daemon): Shared, Json(form): Json<DeadLettersForm>| {
                respond(daemon.retry_dead_letters(form.sequences).await)
            }),
        )
        .route(
            "/v1/radius/dead-letters/remove",
            post(async |State(daemon): Shared, Json(form): Json<DeadLettersForm>| {
                respond(daemon.remove_dead_letters(form.sequences.unwrap_or_default()).await)
            }),
        )
        .route("/v1/radius/requests", get(tail))
        .route(
            "/v1/radius/refusals",
            get(async |State(daemon): Shared, Query(filter): Query<RefusalFilter>| {
                answer(&daemon, move |d| d.refusals(&filter)).await
            }),
        )
        .route(
            "/v1/radius/limits",
            get(async |State(daemon): Shared, Query(form): Query<LimitsForm>| {
                answer(&daemon, move |d| d.limits(&form.user)).await
            }),
        )
        .route(
            "/v1/mail/status",
            get(async |State(daemon): Shared| answer(&daemon, Daemon::mail_status).await),
        )
        .route(
            "/v1/mail/queue",
            post(async |State(daemon): Shared, Form(form): Form<QueueForm>| {
                respond(daemon.mail_queue(form).await)
            }),
        )
        .route(
            "/v1/mail/queue/destinations",
            post(async |State(daemon): Shared, Form(form): Form<DestinationsForm>| {
                respond(daemon.mail_destinations(form).await)
            }),
        )
        .route(
            "/v1/mail/queue/change",
            post(async |State(daemon): Shared, Form(change): Form<QueueChange>| {
                respond(daemon.change_mail_queue(change.which, change.action).await)
            }),
        )
        .route(
            "/v1/mail/queue/message",
            post(async |State(daemon): Shared, Form(form): Form<MessageForm>| {
                respond(daemon.mail_message(form).await)
            }),
        )
        .route(
            "/v1/mail/trace",
            post(async |State(daemon): Shared, Form(form): Form<TraceForm>| {
                respond(daemon.mail_trace(form.what).await)
            }),
        )
        .route(
            "/v1/status",
            get(async |State(daemon): Shared| answer(&daemon, |d| Ok(d.overview())).await),
        )
        .route(
            "/v1/counters",
            get(async |State(daemon): Shared| answer(&daemon, Daemon::counters).await),
        )
        .route("/v1/top", get(async |State(daemon): Shared| answer(&daemon, Daemon::top).await))
        .route("/v1/samples", get(samples))
        .route(
            "/v1/blocks",
            get(async |State(daemon): Shared| answer(&daemon, Daemon::blocks).await)
                .post(async |State(daemon): Shared, Form(form): Form<BlockForm>| {
                    answer(&daemon, move |d| d.block(form)).await
                })
                .delete(async |State(daemon): Shared, Query(form): Query<PrefixForm>| {
                    answer(&daemon, move |d| d.unblock(form.prefix)).await
                }),
        )
        .route(
            "/v1/allow",
            post(async |State(daemon): Shared, Form(form): Form<PrefixForm>| {
                answer(&daemon, move |d| d.allow(form.prefix)).await
            })
            .delete(async |State(daemon): Shared, Query(form): Query<PrefixForm>| {
                answer(&daemon, move |d| d.disallow(form.prefix)).await
            }),
        )
        .route(
            "/v1/offences",
            post(async |State(daemon): Shared, Form(offence): Form<Offence>| {
                answer(&daemon, move |d| d.report(offence)).await
            }),
        )
        .route(
            "/v1/customers-seen",
            post(async |State(daemon): Shared, Form(seen): Form<CustomerSeen>| {
                answer(&daemon, move |d| d.customer_seen(&seen)).await
            }),
        )
        .route(
            "/v1/reload",
            post(async |State(daemon): Shared| answer(&daemon, crate::run::reload).await),
        )
        .route(
            "/v1/edge/attach",
            post(async |State(daemon): Shared| answer(&daemon, Daemon::attach).await),
        )
        .route(
            "/v1/edge/detach",
            post(async |State(daemon): Shared| answer(&daemon, Daemon::detach).await),
        )
        .fallback(async || {
            refusal(
                StatusCode::NOT_FOUND,
                "there is no such call".to_owned(),
                Some("see `muralla --help`"),
            )
        })
        .method_not_allowed_fallback(async || {
            refusal(StatusCode::METHOD_NOT_ALLOWED, "not with this method".to_owned(), None)
        })
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(daemon)
}

/// The routes of the socket that the services behind the wall have: what they saw, and nothing besides. Whoever gets hold of such a service
/// can have a source banned from services of its kind, as it does all day, but he can't let anybody through or take the wall down.
pub(crate) fn reports_router(daemon: Arc<Daemon>) -> Router {
    Router::new()
        .route(
            "/v1/offences",
            post(async |State(daemon): Shared, Form(offence): Form<Offence>| {
                answer(&daemon, move |d| d.report_of_service(offence)).await
            }),
        )
        .route(
            "/v1/customers-seen",
            post(async |State(daemon): Shared, Form(seen): Form<CustomerSeen>| {
                answer(&daemon, move |d| d.customer_seen(&seen)).await
            }),
        )
        .fallback(async || {
            refusal(
                StatusCode::NOT_FOUND,
                "there is no such call at this socket".to_owned(),
                Some("it is for services behind the wall to tell what they saw; others are at [admin] socket"),
            )
        })
        .method_not_allowed_fallback(async || {
            refusal(StatusCode::METHOD_NOT_ALLOWED, "not with this method".to_owned(), None)
        })
        .layer(DefaultBodyLimit::max(LARGEST_REPORT))
        .with_state(daemon)
}

/// A sign of life; of DNS, RADIUS and mail only if a request is answered.
async fn ping(State(daemon): Shared) -> Response {
    match daemon.probe().await {
        Ok(()) => Json(PONG).into_response(),
        Err(refused) => refuse(&refused),
    }
}

async fn canary(State(daemon): Shared) -> Response {
    match daemon.dns_probe().await {
        Ok(took) => Json(Canary { seconds: took.as_secs_f64() }).into_response(),
        Err(refused) => refuse(&refused),
    }
}

async fn queries(State(daemon): Shared) -> Response {
    match daemon.queries() {
        Ok(queries) => {
            let line = |query| QueryLine::Query(Box::new(query));
            let lines = following::relay(
                queries,
                move |query| encode(&line(query)),
                |lost| encode(&QueryLine::Lost(lost)),
            );
            ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::new(Lines(lines)))
                .into_response()
        }
        Err(refused) => refuse(&refused),
    }
}

async fn tail(State(daemon): Shared, Query(filter): Query<Filter>) -> Response {
    match daemon.tail(filter) {
        Ok(mut requests) => {
            let (sender, lines) = mpsc::channel(64);
            tokio::spawn(async move {
                while let Some(request) = requests.recv().await {
                    if sender.send(encode(&request)).await.is_err() {
                        break;
                    }
                }
            });
            ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::new(Lines(lines)))
                .into_response()
        }
        Err(refused) => refuse(&refused),
    }
}

async fn samples(State(daemon): Shared) -> Response {
    let body = Body::new(Lines(daemon.hub().follow()));
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

fn respond<T: Serialize>(outcome: Result<T, Refused>) -> Response {
    match outcome {
        Ok(value) => Json(value).into_response(),
        Err(refused) => refuse(&refused),
    }
}

async fn answer<T: Serialize + Send + 'static>(
    daemon: &Arc<Daemon>,
    act: impl FnOnce(&Daemon) -> Result<T, Refused> + Send + 'static,
) -> Response {
    match blocking(daemon, act).await {
        Ok(outcome) => respond(outcome),
        Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string(), None),
    }
}

fn refuse(refused: &Refused) -> Response {
    let status = match refused {
        Refused::Detached | Refused::NoRole(_) | Refused::Protected(..) => StatusCode::CONFLICT,
        Refused::Invalid { .. } | Refused::Configuration(_) => StatusCode::UNPROCESSABLE_ENTITY,
        Refused::Silent(..) => StatusCode::SERVICE_UNAVAILABLE,
        Refused::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    refusal(status, refused.to_string(), refused.help())
}

fn refusal(status: StatusCode, error: String, help: Option<&str>) -> Response {
    (status, Json(Refusal { error, help: help.map(str::to_owned) })).into_response()
}

/// A JSON body, or a refusal in JSON.
struct Form<T>(T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Form<T> {
    type Rejection = BadForm;

    async fn from_request(request: Request, state: &S) -> Result<Self, BadForm> {
        Ok(Self(Json::from_request(request, state).await?.0))
    }
}

/// A query, or a refusal in JSON.
struct Query<T>(T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = BadForm;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, BadForm> {
        Ok(Self(axum::extract::Query::from_request_parts(parts, state).await?.0))
    }
}

struct BadForm(StatusCode, String);

impl From<JsonRejection> for BadForm {
    fn from(rejection: JsonRejection) -> Self {
        Self(rejection.status(), rejection.body_text())
    }
}

impl From<QueryRejection> for BadForm {
    fn from(rejection: QueryRejection) -> Self {
        Self(rejection.status(), rejection.body_text())
    }
}

impl IntoResponse for BadForm {
    fn into_response(self) -> Response {
        refusal(self.0, self.1, Some("send JSON, with content-type: application/json"))
    }
}

/// Lines as a body without end.
struct Lines(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}
