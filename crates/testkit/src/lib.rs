//! What all tests of the workspace use: footage with numbered frames, a Lambda Runtime API, and servers that misbehave
//! on demand. The kit depends on no other crate of the workspace, so that unit tests of any of them may use it.

pub mod camera_api;
pub mod decode;
pub mod footage;
pub mod frame_numbers;
pub mod http;
pub mod ministack;
pub mod paths;
pub mod random;
pub mod runtime_api;
pub mod slow_proxy;
pub mod stack_template;
