//! Where a configuration begins.

use crate::{
    AttachRefusal, AwsCodes, HttpStatus, Jitter, Profile, Repeatable, RetryBuilder, RetryPolicy,
    Transport,
};

impl<Req: Repeatable + 'static, Res: AttachRefusal> RetryPolicy<Req, Res> {
    /// Configures a policy without any classifier.
    ///
    /// Every default is in the docs of its setter.
    pub fn builder() -> RetryBuilder<Req, Res> {
        Self::builder_of().attach(Res::attach)
    }
}

impl<Req: Repeatable + 'static, Res> RetryPolicy<Req, Res> {
    /// What the request itself knows.
    pub(crate) fn builder_of() -> RetryBuilder<Req, Res> {
        Self::builder_with(Req::try_clone)
            .idempotent(Req::is_idempotent)
            .once(|request| request.mark() == Some(false))
            .deadline(Req::deadline)
            .endpoint(Req::endpoint)
    }
}

impl<B, ResB> RetryPolicy<http::Request<B>, http::Response<ResB>>
where
    http::Request<B>: Repeatable + 'static,
{
    /// Configures a policy for HTTP: [`HttpStatus`], [`Transport`] and
    /// [`Profile::GENERIC`]. More classifiers may follow.
    pub fn http() -> RetryBuilder<http::Request<B>, http::Response<ResB>> {
        Self::builder().classify(HttpStatus::new()).classify(Transport::new())
    }

    /// Configures a policy for services of AWS: as [`http`](Self::http), and their
    /// error codes ([`AwsCodes`]), with [`Profile::AWS`] and full jitter. More
    /// classifiers may follow.
    ///
    /// What was throttled is retried whatever the method; what failed otherwise
    /// only by method, key or mark, as ever. The AWS client libraries do not ask;
    /// to be as bold, say `.idempotent(|_| true)`.
    ///
    /// ```
    /// use http::{Request, Response};
    /// use tower_retry_classify::{ConfigError, PeekLayer, RetryPolicy};
    ///
    /// let policy = RetryPolicy::<Request<String>, Response<String>>::aws().build()?;
    /// // Inside of the retry: PeekLayer, or map_response(Peeked::note), for codes in bodies.
    /// let _ = PeekLayer::new();
    /// assert_eq!(policy.budget().available(), 500);
    /// # Ok::<(), ConfigError>(())
    /// ```
    pub fn aws() -> RetryBuilder<http::Request<B>, http::Response<ResB>> {
        let aws = Profile::AWS;
        let aws = Profile { backoff: aws.backoff.jitter(Jitter::Full), ..aws };
        Self::http().classify(AwsCodes::new()).profile(aws)
    }
}
