//! Whether recordings can be read, and clips be stored.

use std::collections::HashMap;

use crate::contract::self_check_table::Check;
use crate::error::Error;
use crate::self_check::SelfCheck;
use crate::self_check::verdict::{Verdict, timed};
use crate::services::s3::{LookUp, ObjectId, Upload};
use crate::services::s3_recordings::S3Recordings;

/// Name of the object that is looked up, stored and removed.
const NAME: &str = ".self-check";
/// Name of an object that is never stored.
const ABSENT: &str = ".self-check-absent";
const CONTENT: &str = "Left by a self-check that may not remove objects.\n";
/// The settings that name the buckets.
const ORIGIN: &str = "S3_BUCKET_ORIGIN";
const DESTINATION: &str = "S3_BUCKET_DESTINATION";
/// Bytes of a recording that are read.
const READ_BYTES: u64 = 1024;

impl SelfCheck<'_> {
    pub(super) async fn recordings_bucket(self) -> Vec<Check> {
        let (look_up, read) = tokio::join!(
            timed("recordings: look-up", self.look_recording_up()),
            timed("recordings: read", self.read_recording())
        );
        vec![look_up, read]
    }

    async fn look_recording_up(self) -> Verdict {
        match self.pipeline.s3.head(&self.recordings().object(NAME), self.deadline).await {
            Ok(LookUp::Found(_) | LookUp::NotFound) => Verdict::works(),
            Ok(LookUp::Forbidden(error)) => Verdict::fails(format_args!(
                "s3:GetObject and s3:ListBucket, without which S3 answers 403 in place of 404: {}",
                error.see(ORIGIN)
            )),
            Err(error) => Verdict::fails(error.see(ORIGIN)),
        }
    }

    async fn read_recording(self) -> Verdict {
        let (s3, recordings) = (&self.pipeline.s3, self.recordings());
        let folder = recordings.object("");
        let found = s3.find_one(&folder.bucket, &folder.key, self.deadline).await.map_err(|error| error.see(ORIGIN));
        let found = match found {
            Ok(crate::services::probes::Probe::Answered(Some(found))) => found,
            found => {
                return Verdict::of_probe(found, "s3:ListBucket", |_| {
                    Verdict::unknown(format_args!("{folder} holds no recording"))
                });
            }
        };
        match s3.get_first_bytes(&found, READ_BYTES, self.deadline).await {
            Ok(_) => Verdict::works(),
            Err(error) => Verdict::fails(error.see(ORIGIN)),
        }
    }

    /// Stores an object, looks it up, and removes it, in this order.
    pub(super) async fn clips_bucket(self) -> Vec<Check> {
        let store = timed("clips: store", self.store_object()).await;
        let look_up = timed("clips: look-up", self.look_clip_up()).await;
        let remove = timed("clips: remove", self.remove_object()).await;
        vec![store, look_up, remove]
    }

    async fn store_object(self) -> Verdict {
        let stored = async {
            let folder = self.pipeline.scratch.request_folder()?;
            let path = folder.path().join(NAME);
            tokio::fs::write(&path, CONTENT).await.map_err(|error| Error::transient(NAME, error))?;
            let upload = Upload {
                path: &path,
                content_type: "text/plain",
                content_disposition: None,
                cache_control: None,
                metadata: &HashMap::new(),
            };
            self.pipeline.s3.put(&self.clip(NAME), upload, self.deadline).await
        };
        stored.await.map_or_else(|error: Error| Verdict::fails(error.see(DESTINATION)), |_| Verdict::works())
    }

    /// Looks up an object that was stored, and one that never was. To a role that may only put, neither can be told.
    async fn look_clip_up(self) -> Verdict {
        for name in [NAME, ABSENT] {
            match self.pipeline.s3.head(&self.clip(name), self.deadline).await {
                Ok(LookUp::Found(_) | LookUp::NotFound) => {}
                Ok(LookUp::Forbidden(error)) => {
                    return Verdict::unknown(format_args!(
                        "without s3:GetObject and s3:ListBucket no stored clip is recognized: {}",
                        error.see(DESTINATION)
                    ));
                }
                Err(error) => return Verdict::fails(error.see(DESTINATION)),
            }
        }
        Verdict::works()
    }

    async fn remove_object(self) -> Verdict {
        let object = self.clip(NAME);
        let removed = self.pipeline.s3.remove(&object, self.deadline).await.map_err(|error| error.see(DESTINATION));
        Verdict::of_probe(removed, &format!("s3:DeleteObject, {object} stays"), |()| Verdict::works())
    }

    fn recordings(self) -> S3Recordings {
        let settings = self.pipeline.settings();
        S3Recordings {
            s3: self.pipeline.s3.clone(),
            bucket: settings.bucket_origin.clone(),
            dir: settings.bucket_origin_dir.clone(),
        }
    }

    fn clip(self, key: &str) -> ObjectId {
        ObjectId { bucket: self.pipeline.settings().bucket_destination.clone(), key: key.to_owned() }
    }
}
