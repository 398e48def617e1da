mod behaviour;
mod faults;
mod filesystems;
mod world;
