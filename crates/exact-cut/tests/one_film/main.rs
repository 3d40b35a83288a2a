//! One continuous film, cut into recordings by ffmpeg's segment muxer as many cameras cut theirs, under names that are off.
//! Every clip must be the film: no frame is lost, doubled or held at a joint, and the audio goes on.

mod film;
mod pictures;
mod plans;
mod sound;
