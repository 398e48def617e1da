mod acls;
mod behaviour;
mod faults;
mod filesystems;
mod groups;
mod world;
